//! Pictures as network inputs: decode, resize, scale.

use super::DataError;
use image::imageops::{self, FilterType};
use image::{ImageBuffer, ImageReader, Luma, Rgb};
use std::io::Cursor;
use std::path::Path;

/// Most bytes that decoding may take: a photograph of 80 megapixels.
const MAX_DECODED: u64 = 256 << 20;

/// How pixels become the network's numbers. A pixel's level is 0 to 1 before it.
#[derive(Clone, Debug, PartialEq)]
pub enum Normalize {
    /// `level * scale + shift`, the same for all channels.
    Linear {
        /// Factor.
        scale: f32,
        /// Addend.
        shift: f32,
    },
    /// `(level - mean) / std`, one entry for all channels or one per channel.
    PerChannel {
        /// What is subtracted.
        mean: Vec<f32>,
        /// What is divided by.
        std: Vec<f32>,
    },
}

impl Default for Normalize {
    fn default() -> Self {
        Normalize::Linear { scale: 1.0, shift: 0.0 }
    }
}

impl std::str::FromStr for Normalize {
    type Err = String;

    /// `0..1`, `-1..1`, `0..255`, `imagenet`, or `mean=M,M,M;std=S,S,S`.
    fn from_str(s: &str) -> Result<Self, String> {
        match s {
            "0..1" => return Ok(Normalize::Linear { scale: 1.0, shift: 0.0 }),
            "-1..1" => return Ok(Normalize::Linear { scale: 2.0, shift: -1.0 }),
            "0..255" => return Ok(Normalize::Linear { scale: 255.0, shift: 0.0 }),
            "imagenet" => {
                return Ok(Normalize::PerChannel { mean: vec![0.485, 0.456, 0.406], std: vec![0.229, 0.224, 0.225] });
            }
            _ => {}
        }
        let usage = || format!("{s}: not one of 0..1, -1..1, 0..255, imagenet, mean=M,..;std=S,..");
        let (mean, std) = s.split_once(';').ok_or_else(usage)?;
        let numbers = |list: &str, key: &str| -> Result<Vec<f32>, String> {
            let list = list.trim().strip_prefix(key).ok_or_else(usage)?;
            list.split(',').map(|v| v.trim().parse().map_err(|_| usage())).collect()
        };
        let (mean, std) = (numbers(mean, "mean=")?, numbers(std, "std=")?);
        if mean.len() != std.len() || !matches!(mean.len(), 1 | 3) {
            return Err(format!("{s}: as many means as deviations, one or three, are needed"));
        }
        if mean.iter().chain(&std).any(|v| !v.is_finite()) || std.contains(&0.0) {
            return Err(format!("{s}: finite numbers are needed, and no deviation of 0"));
        }
        Ok(Normalize::PerChannel { mean, std })
    }
}

impl Normalize {
    fn apply(&self, level: f32, channel: usize) -> f32 {
        match self {
            Normalize::Linear { scale, shift } => level * scale + shift,
            Normalize::PerChannel { mean, std } => {
                let i = if mean.len() == 1 { 0 } else { channel };
                (level - mean[i]) / std[i]
            }
        }
    }
}

/// What a picture is to become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// 1 (grey), 3 (red, green, blue) or 4 (and opacity).
    pub channels: usize,
    /// Whether all of a channel comes before the next one (NCHW).
    pub planar: bool,
}

/// Reads a PNG or JPEG: see [`decode`].
///
/// # Errors
/// [`DataError`], also for what is not a picture.
pub fn read(path: &Path, target: Target, normalize: &Normalize) -> Result<Vec<f32>, DataError> {
    let bytes = crate::file::read_whole(path).map_err(|e| DataError::io(path, e))?;
    decode(&bytes, target, normalize).map_err(|e| DataError::invalid(path, e))
}

/// Decodes a PNG or JPEG, resizes it to the target with a triangle filter that widens when shrinking (bilinear,
/// antialiased), whatever its proportions, and scales its levels. Colour becomes grey by 0.299 R + 0.587 G + 0.114 B.
/// Opacity is dropped, unless four channels are asked for.
///
/// # Errors
/// Says what is not a picture, or cannot become the target.
pub fn decode(bytes: &[u8], target: Target, normalize: &Normalize) -> Result<Vec<f32>, String> {
    let Target { height, width, channels, planar } = target;
    if let Normalize::PerChannel { mean, .. } = normalize
        && mean.len() > 1
        && mean.len() != channels
    {
        return Err(format!("normalisation of {} channels for an input of {channels}", mean.len()));
    }
    let (Ok(w), Ok(h)) = (u32::try_from(width), u32::try_from(height)) else {
        return Err(format!("cannot make a picture of {width} x {height}"));
    };
    let mut reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|e| e.to_string())?;
    let mut limits = image::Limits::default();
    limits.max_alloc = Some(MAX_DECODED);
    reader.limits(limits);
    let picture = reader.decode().map_err(|e| format!("not a picture that can be read: {e}"))?;

    let levels = match channels {
        1 if !picture.color().has_color() => resize::<Luma<f32>>(picture.to_luma32f(), w, h),
        1 => {
            let rgb = picture.to_rgb32f();
            let grey = ImageBuffer::from_fn(rgb.width(), rgb.height(), |x, y| {
                let Rgb([r, g, b]) = *rgb.get_pixel(x, y);
                Luma([0.299 * r + 0.587 * g + 0.114 * b])
            });
            resize::<Luma<f32>>(grey, w, h)
        }
        3 => resize(picture.to_rgb32f(), w, h),
        4 => resize(picture.to_rgba32f(), w, h),
        n => return Err(format!("a picture cannot fill an input of {n} channels; give an array (.npy)")),
    };
    let pixels = height * width;
    let at = |i: usize, c: usize| normalize.apply(levels[i * channels + c], c);
    Ok(if planar {
        (0..channels).flat_map(|c| (0..pixels).map(move |i| (i, c))).map(|(i, c)| at(i, c)).collect()
    } else {
        (0..pixels).flat_map(|i| (0..channels).map(move |c| (i, c))).map(|(i, c)| at(i, c)).collect()
    })
}

fn resize<P>(picture: ImageBuffer<P, Vec<f32>>, w: u32, h: u32) -> Vec<f32>
where
    P: image::Pixel<Subpixel = f32> + 'static,
{
    if picture.dimensions() == (w, h) {
        return picture.into_raw();
    }
    imageops::resize(&picture, w, h, FilterType::Triangle).into_raw()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn png(w: u32, h: u32, f: impl Fn(u32, u32) -> [u8; 3]) -> Vec<u8> {
        let picture = image::RgbImage::from_fn(w, h, |x, y| Rgb(f(x, y)));
        let mut out = Cursor::new(Vec::new());
        picture.write_to(&mut out, image::ImageFormat::Png).unwrap();
        out.into_inner()
    }

    const RGB: Target = Target { height: 2, width: 2, channels: 3, planar: false };

    #[test]
    fn keeps_pixels_when_the_size_fits() {
        let bytes = png(2, 2, |x, y| [(x * 255) as u8, (y * 255) as u8, 51]);
        let got = decode(&bytes, RGB, &Normalize::default()).unwrap();
        assert_eq!(got, [0.0, 0.0, 0.2, 1.0, 0.0, 0.2, 0.0, 1.0, 0.2, 1.0, 1.0, 0.2]);
        let got = decode(&bytes, Target { planar: true, ..RGB }, &Normalize::default()).unwrap();
        assert_eq!(got, [0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 1.0, 1.0, 0.2, 0.2, 0.2, 0.2]);
    }

    #[test]
    fn colour_becomes_grey_by_its_brightness() {
        let bytes = png(1, 1, |_, _| [255, 0, 0]);
        let one = Target { height: 1, width: 1, channels: 1, planar: false };
        assert_eq!(decode(&bytes, one, &Normalize::default()).unwrap(), [0.299]);
    }

    #[test]
    fn shrinking_averages() {
        let bytes = png(64, 64, |x, _| [if x % 2 == 0 { 255 } else { 0 }; 3]);
        let got = decode(&bytes, RGB, &Normalize::default()).unwrap();
        assert!(got.iter().all(|v| (v - 0.5).abs() < 0.05), "{got:?}");
    }

    #[test]
    fn modes_of_normalisation() {
        let bytes = png(1, 1, |_, _| [255, 0, 51]);
        let t = Target { height: 1, width: 1, channels: 3, planar: false };
        let with = |mode: &str| decode(&bytes, t, &mode.parse().unwrap()).unwrap();
        assert_eq!(with("-1..1"), [1.0, -1.0, 0.2f32 * 2.0 - 1.0]);
        assert_eq!(with("0..255"), [255.0, 0.0, 0.2f32 * 255.0]);
        assert_eq!(with("imagenet")[1], -0.456 / 0.224);
        assert_eq!(with("mean=0.5;std=0.25")[0], 2.0);
        for bad in ["", "mean=1", "mean=1,2;std=1,2", "mean=1;std=0", "mean=x;std=1", "mean=1,2,3;std=1"] {
            assert!(bad.parse::<Normalize>().is_err(), "{bad}");
        }
    }

    #[test]
    fn channels_that_no_picture_has_are_refused() {
        let bytes = png(1, 1, |_, _| [0; 3]);
        assert!(decode(&bytes, Target { channels: 2, ..RGB }, &Normalize::default()).is_err());
        let grey = Target { channels: 1, ..RGB };
        assert!(decode(&bytes, grey, &"imagenet".parse().unwrap()).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_give_an_answer(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes, RGB, &Normalize::default());
            let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
            png.extend(&bytes);
            let _ = decode(&png, RGB, &Normalize::default());
        }
    }
}
