//! `Resizing` and `CenterCrop`: images made to another size, as TensorFlow resizes them.

use super::{Cfg, Emit, Integers, Layer, Operands};
use crate::error::Result;
use crate::ir::{Op, Places, ResizeKind, ValueId};

struct Resizing {
    size: [usize; 2],
    kind: ResizeKind,
    /// What is not done where the size changes, and what to do about it.
    refused: Option<(String, &'static str)>,
}

pub(super) fn resizing(cfg: &Cfg<'_>) -> Result<Box<dyn Layer>> {
    cfg.channels_last()?;
    let size = [cfg.count("height")?, cfg.count("width")?];
    let mode = cfg.text("interpolation")?.unwrap_or("bilinear");
    // Of other modes an image of that size already makes nothing either.
    let kind = if mode.eq_ignore_ascii_case("bilinear") { ResizeKind::Bilinear } else { ResizeKind::Nearest };
    let mut refused = None;
    for (key, remedy) in [
        ("crop_to_aspect_ratio", "crop the images before the network"),
        ("pad_to_aspect_ratio", "pad the images before the network"),
        // TensorFlow's nearest pixels know none.
        ("antialias", "resize without it, or before the network"),
    ] {
        if cfg.flag(key, false)? && (key != "antialias" || kind == ResizeKind::Bilinear) {
            refused = Some((format!("{key} = true"), remedy));
        }
    }
    if kind == ResizeKind::Nearest && !mode.eq_ignore_ascii_case("nearest") {
        refused = Some((format!("interpolation = {}", super::short(format_args!("{mode:?}"))), "use \"bilinear\" or \"nearest\""));
    }
    Ok(Box::new(Resizing { size, kind, refused }))
}

impl Layer for Resizing {
    fn emit(&self, e: &mut Emit<'_>, inputs: &Operands) -> Result<ValueId> {
        let x = e.ranked(inputs, 4)?;
        let [n, h, w, c] = e.shape(x)[..] else { return Err(e.invalid("an image has four axes")) };
        let shape = [n, self.size[0], self.size[1], c];
        // An image of that size already stays as it is, whatever would be done to others.
        if [h, w] == self.size {
            return e.node("", Op::Reshape, &[x], &shape);
        }
        match &self.refused {
            None => e.node("", Op::Resize { kind: self.kind, places: Places::Middles }, &[x], &shape),
            Some((what, remedy)) => Err(e.unsupported(what.clone(), *remedy)),
        }
    }
}

/// A part that is chosen in training; otherwise an image is resized to be just large enough, and its middle is taken.
struct RandomCrop {
    size: [usize; 2],
}

pub(super) fn random_crop(cfg: &Cfg<'_>) -> Result<Box<dyn Layer>> {
    cfg.channels_last()?;
    Ok(Box::new(RandomCrop { size: [cfg.count("height")?, cfg.count("width")?] }))
}

impl Layer for RandomCrop {
    fn integers(&self, _: &Operands) -> Integers {
        Integers::Floats
    }

    fn emit(&self, e: &mut Emit<'_>, inputs: &Operands) -> Result<ValueId> {
        let x = e.ranked(inputs, 4)?;
        let shape = e.shape(x);
        if shape[1..3] == self.size {
            return Ok(x);
        }
        Err(e.unsupported(
            format!("a random crop of {}x{} from {}x{}", self.size[0], self.size[1], shape[1], shape[2]),
            "use Resizing or CenterCrop",
        ))
    }
}

struct CenterCrop {
    size: [usize; 2],
}

pub(super) fn center_crop(cfg: &Cfg<'_>) -> Result<Box<dyn Layer>> {
    cfg.channels_last()?;
    Ok(Box::new(CenterCrop { size: [cfg.count("height")?, cfg.count("width")?] }))
}

impl Layer for CenterCrop {
    fn integers(&self, _: &Operands) -> Integers {
        Integers::Floats
    }

    fn emit(&self, e: &mut Emit<'_>, inputs: &Operands) -> Result<ValueId> {
        let x = e.ranked(inputs, 4)?;
        let [n, h, w, c] = e.shape(x)[..] else { return Err(e.invalid("an image has four axes")) };
        let [height, width] = self.size;
        let (Some(below), Some(right)) = (h.checked_sub(height), w.checked_sub(width)) else {
            let what = format!("a crop of {height}x{width} from {h}x{w}, which is resized first");
            return Err(e.unsupported(what, "make the input at least as large"));
        };
        let start = vec![0, below / 2, right / 2, 0];
        e.node("", Op::Slice { start, step: vec![1; 4] }, &[x], &[n, height, width, c])
    }
}
