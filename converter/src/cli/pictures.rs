//! What `convert` is told about pictures.

use super::failure::Failure;
use sepal_converter::data::recipe::{Normalize, Resize};
use sepal_converter::file::read_at_most;
use sepal_converter::preprocessing::Preprocessing;
use std::path::{Path, PathBuf};

/// How pictures become the network's input; written to the file, and used by `run` and `diff`.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Pictures (written to the file, for `run`)")]
pub struct PictureArgs {
    /// How levels become numbers, as for `run`: 0..1, -1..1, 0..255, imagenet, mean=M,..;std=S,..
    #[arg(long, value_name = "MODE", allow_hyphen_values = true, conflicts_with_all = ["mean", "std", "scale", "levels"])]
    normalize: Option<Normalize>,
    /// What is subtracted from levels, one number or one per channel of the network
    #[arg(long, value_name = "M,..", value_delimiter = ',', allow_hyphen_values = true)]
    mean: Vec<f32>,
    /// What levels are divided by after that
    #[arg(long, value_name = "S,..", value_delimiter = ',', conflicts_with = "scale")]
    std: Vec<f32>,
    /// What they are multiplied by after that, in place of --std
    #[arg(long, value_name = "F,..", value_delimiter = ',')]
    scale: Vec<f32>,
    /// What full intensity is, before the mean: 1 or 255 [default: 1]
    #[arg(long, value_name = "1|255", value_parser = ["1", "255"])]
    levels: Option<String>,
    /// Order of the colours that the network takes [default: rgb]
    #[arg(long, value_name = "rgb|bgr", value_parser = ["rgb", "bgr"])]
    color: Option<String>,
    /// How pictures get the input size: stretch, crop or crop:SHARE, fit or fit:INTENSITY
    #[arg(long, value_name = "RULE", value_parser = resize)]
    resize: Option<Resize>,
    /// Names of the first output's elements, one a line
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    /// Fold mean and deviation into the first convolution where exact: the network takes levels then
    #[arg(long)]
    pub fold_input: bool,
}

fn resize(s: &str) -> Result<Resize, String> {
    let (rule, value) = s.split_once(':').map_or((s, None), |(rule, value)| (rule, Some(value)));
    let share = |default: f32| match value.map(str::parse::<f32>) {
        None => Ok(default),
        Some(Ok(v)) if (0.0..=1.0).contains(&v) => Ok(v),
        Some(_) => Err(format!("{s}: a number from 0 to 1 is needed after the colon")),
    };
    match rule {
        "stretch" if value.is_none() => Ok(Resize::Stretch),
        "crop" => share(1.0).and_then(|v| if v > 0.0 { Ok(Resize::Crop(v)) } else { Err(format!("{s}: a crop of nothing")) }),
        "fit" => share(0.0).map(Resize::Fit),
        _ => Err(format!("{s}: not one of stretch, crop, crop:0.875, fit, fit:0.5")),
    }
}

impl PictureArgs {
    /// What was said; nothing if nothing was.
    pub fn preprocessing(&self) -> Result<Option<Preprocessing>, Failure> {
        let mut p = Preprocessing::default();
        if let Some(normalize) = &self.normalize {
            p.set(normalize);
        }
        if let Some(levels) = &self.levels {
            p.level = if levels == "255" { 255.0 } else { 1.0 };
        }
        let inverse: Vec<f32> = self.scale.iter().map(|s| 1.0 / s).collect();
        let std = if self.scale.is_empty() { &self.std } else { &inverse };
        let n = self.mean.len().max(std.len());
        if n > 0 {
            let spread = |what: &str, list: &[f32], default: f32| match list.len() {
                0 => Ok(vec![default; n]),
                1 => Ok(vec![list[0]; n]),
                len if len == n => Ok(list.to_vec()),
                len => Err(Failure::usage(format!("{len} numbers for {what}, {n} for the other: as many are needed, or one"))),
            };
            p.mean = spread("--mean", &self.mean, 0.0)?;
            p.std = spread("--std", std, 1.0)?;
        }
        if p.std.iter().any(|s| !s.is_finite() || *s == 0.0)
            || p.mean.iter().any(|m| !m.is_finite())
            || !matches!(p.mean.len(), 1 | 3 | 4)
        {
            return Err(Failure::usage(
                "mean and deviation: one, three or four finite numbers each are needed, and no deviation of 0",
            ));
        }
        p.bgr = self.color.as_deref() == Some("bgr");
        if let Some(resize) = self.resize {
            p.resize = resize;
        }
        if let Some(path) = &self.labels {
            p.labels = labels(path)?;
        }
        let said = self.says_levels() || self.color.is_some() || self.resize.is_some() || self.labels.is_some();
        if self.fold_input && !self.says_levels() {
            return Err(Failure::usage("--fold-input: there is no --mean, --std or --normalize to be folded"));
        }
        Ok(said.then_some(p))
    }

    /// Whether anything was said of what levels become.
    pub fn says_levels(&self) -> bool {
        let PictureArgs { normalize, mean, std, scale, levels, .. } = self;
        normalize.is_some() || levels.is_some() || [mean, std, scale].iter().any(|list| !list.is_empty())
    }
}

/// Longest file of labels.
const MAX_LABELS: u64 = 4 << 20;

/// One name a line.
pub fn labels(path: &Path) -> Result<Vec<String>, Failure> {
    let bytes = read_at_most(path, MAX_LABELS).map_err(|e| Failure::io(path, &e))?;
    let text = String::from_utf8(bytes).map_err(|_| Failure::invalid(format!("{}: labels are text in UTF-8", path.display())))?;
    Ok(text.lines().map(|l| l.trim().to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_of_resizing() {
        assert_eq!(resize("stretch").unwrap(), Resize::Stretch);
        assert_eq!(resize("crop").unwrap(), Resize::Crop(1.0));
        assert_eq!(resize("crop:0.875").unwrap(), Resize::Crop(0.875));
        assert_eq!(resize("fit:0.5").unwrap(), Resize::Fit(0.5));
        for bad in ["", "crop:0", "crop:2", "fit:x", "stretch:1", "nearest"] {
            assert!(resize(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn numbers_are_spread() {
        let args = PictureArgs {
            mean: vec![103.9, 116.8, 123.7],
            scale: vec![0.017],
            levels: Some("255".into()),
            ..PictureArgs::default()
        };
        let p = args.preprocessing().unwrap().unwrap();
        assert_eq!((p.level, p.mean.len(), p.std), (255.0, 3, vec![1.0 / 0.017; 3]));
        assert!(PictureArgs::default().preprocessing().unwrap().is_none());
        for bad in [
            PictureArgs { mean: vec![1.0; 2], ..PictureArgs::default() },
            PictureArgs { std: vec![0.0], ..PictureArgs::default() },
            PictureArgs { scale: vec![0.0], ..PictureArgs::default() },
            PictureArgs { mean: vec![1.0; 3], std: vec![1.0; 4], ..PictureArgs::default() },
            PictureArgs { fold_input: true, ..PictureArgs::default() },
            PictureArgs { fold_input: true, color: Some("bgr".into()), ..PictureArgs::default() },
        ] {
            assert!(bad.preprocessing().is_err(), "{bad:?}");
        }
    }
}
