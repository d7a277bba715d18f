//! What is done to pictures before they are inputs. Doing it is the work of `data::image`, under the feature `pictures`.

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
    /// `(level * full - mean) / std`, one entry for all channels or one per channel.
    PerChannel {
        /// What full intensity is: 1 or 255.
        full: f32,
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
                return Ok(Normalize::PerChannel { full: 1.0, mean: vec![0.485, 0.456, 0.406], std: vec![0.229, 0.224, 0.225] });
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
        Ok(Normalize::PerChannel { full: 1.0, mean, std })
    }
}

impl Normalize {
    #[cfg(feature = "pictures")]
    pub(super) fn apply(&self, level: f32, channel: usize) -> f32 {
        match self {
            Normalize::Linear { scale, shift } => level * scale + shift,
            Normalize::PerChannel { full, mean, std } => {
                let i = if mean.len() == 1 { 0 } else { channel };
                (level * full - mean[i]) / std[i]
            }
        }
    }
}

/// How a picture gets another size.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Resize {
    /// Stretched, whatever its proportions.
    #[default]
    Stretch,
    /// The middle of it, in the target's proportions: so much of the largest such part, along each side.
    Crop(f32),
    /// All of it, and bars of an intensity (0 to 1) on two sides.
    Fit(f32),
}

/// All that is done to a picture.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recipe {
    /// What becomes of levels.
    pub normalize: Normalize,
    /// Blue comes first.
    pub bgr: bool,
    /// How it gets the target's size.
    pub resize: Resize,
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
