//! How pictures become the network's input, and what its outputs are called: an optional section, which running the network does
//! not need. It is verified when it is asked for.

use crate::error::{FormatError, FormatErrorKind};
use bytemuck::{Pod, Zeroable};

/// Most bytes of labels.
pub const LABELS: usize = 1 << 20;

/// Which channel comes first.
pub mod colour {
    /// Red, or there is none but grey.
    pub const RGB: u32 = 0;
    /// Blue.
    pub const BGR: u32 = 1;
}

/// How a picture gets the input's size.
pub mod fit {
    /// It is stretched.
    pub const STRETCH: u32 = 0;
    /// The middle of it is taken.
    pub const CROP: u32 = 1;
    /// All of it is taken, with bars.
    pub const BARS: u32 = 2;
}

/// The beginning of the section; labels follow.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct Preprocessing {
    /// Index of the input among the inputs.
    pub input: u32,
    /// One of [`colour`].
    pub colour: u32,
    /// One of [`fit`].
    pub resize: u32,
    /// Entries of `mean` and `std` in use: 1 for all channels, or 3 or 4.
    pub channels: u32,
    /// How many labels there are.
    pub labels: u32,
    /// Bytes of labels, a line feed after each.
    pub labels_len: u32,
    /// What full intensity is before the mean is subtracted: 1 or 255.
    pub level: f32,
    /// Share of the shorter side that the middle has, above 0 up to 1; 0 where it is not taken.
    pub crop: f32,
    /// Intensity of the bars, 0 to 1.
    pub bars: f32,
    /// Zero.
    pub reserved: u32,
    /// Subtracted from a channel; in the order of the network's channels.
    pub mean: [f32; 4],
    /// What the channel is divided by after that.
    pub std: [f32; 4],
}

const SIZE: usize = size_of::<Preprocessing>();
const _: () = assert!(SIZE == 72);

impl Preprocessing {
    /// Verifies a section; the record and its labels, each ended by a line feed.
    ///
    /// # Errors
    /// [`FormatErrorKind::Preprocessing`].
    pub fn parse(bytes: &[u8]) -> Result<(Self, &str), FormatError> {
        let bad = FormatError::new(FormatErrorKind::Preprocessing);
        let (record, labels) = bytes.split_at_checked(SIZE).ok_or(bad)?;
        let p: Preprocessing = bytemuck::pod_read_unaligned(record);
        let numbers = p.mean.iter().chain(&p.std).chain([&p.level, &p.crop, &p.bars]);
        let sound = p.colour <= colour::BGR
            && p.resize <= fit::BARS
            && matches!(p.channels, 1 | 3 | 4)
            && p.reserved == 0
            && numbers.clone().all(|v| v.is_finite())
            && (p.level == 1.0 || p.level == 255.0)
            && (if p.resize == fit::CROP { p.crop > 0.0 && p.crop <= 1.0 } else { p.crop == 0.0 })
            && (0.0..=1.0).contains(&p.bars)
            && p.std.iter().take(p.channels as usize).all(|&s| s != 0.0)
            && p.labels_len as usize == labels.len()
            && labels.len() <= LABELS;
        let labels = core::str::from_utf8(labels).map_err(|_| bad)?;
        let lines = labels.bytes().filter(|&b| b == b'\n').count();
        let ended = labels.is_empty() || labels.ends_with('\n');
        if sound && ended && lines == p.labels as usize { Ok((p, labels)) } else { Err(bad) }
    }
}
