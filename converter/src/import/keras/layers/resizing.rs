//! Images made to another size, as TensorFlow resizes them, cut and padded: layers, and the functions of `keras.ops.image`.

use super::function::Bound;
use super::{Cfg, Emit, Integers, Layer, Operands};
use crate::error::Result;
use crate::ir::{Op, Places, ResizeKind, ValueId};

/// To which size, and how.
struct Resizing {
    size: [usize; 2],
    kind: ResizeKind,
    /// What is not done where the size changes, and what to do about it.
    refused: Option<(String, &'static str)>,
    /// Whether pixels are mixed where it does not change, too.
    blurs: bool,
}

/// What else a resizing may be asked for, and what to do about it.
const REFUSED: [(&str, &str); 4] = [
    ("crop_to_aspect_ratio", "crop the images before the network"),
    ("pad_to_aspect_ratio", "pad the images before the network"),
    ("preserve_aspect_ratio", "pad the images before the network"),
    // TensorFlow's nearest pixels know none.
    ("antialias", "resize without it, or before the network"),
];

impl Resizing {
    /// By an interpolation's name, with those of [`REFUSED`] that are asked for.
    fn new(size: [usize; 2], mode: &str, asked: impl Fn(&str) -> Result<bool>) -> Result<Resizing> {
        // Of other modes an image of that size already makes nothing either.
        let kind = if mode.eq_ignore_ascii_case("bilinear") { ResizeKind::Bilinear } else { ResizeKind::Nearest };
        let mut refused = None;
        for (key, remedy) in REFUSED {
            if asked(key)? && (key != "antialias" || kind == ResizeKind::Bilinear) {
                refused = Some((format!("{key} = true"), remedy));
            }
        }
        if kind == ResizeKind::Nearest && !mode.eq_ignore_ascii_case("nearest") {
            let what = format!("interpolation = {}", super::short(format_args!("{mode:?}")));
            refused = Some((what, "use \"bilinear\" or \"nearest\""));
        }
        let exact = ["bilinear", "nearest", "bicubic", "lanczos3", "lanczos5", "area"];
        let blurs = !exact.iter().any(|known| mode.eq_ignore_ascii_case(known));
        Ok(Resizing { size, kind, refused, blurs })
    }

    /// Appends what resizes a picture.
    fn resize(&self, e: &mut Emit<'_>, x: ValueId) -> Result<ValueId> {
        let [n, h, w, c] = e.shape(x)[..] else {
            return Err(e.unsupported(format!("an image of the shape {:?}", e.shape(x)), "give it four axes, as of a batch"));
        };
        let shape = [n, self.size[0], self.size[1], c];
        // An image of that size already stays as it is, whatever would be done to others, unless it is blurred.
        if [h, w] == self.size && !self.blurs {
            return e.node("", Op::Reshape, &[x], &shape);
        }
        match &self.refused {
            None => e.node("", Op::Resize { kind: self.kind, places: Places::Middles }, &[x], &shape),
            Some((what, remedy)) => Err(e.unsupported(what.clone(), *remedy)),
        }
    }
}

pub(super) fn resizing(cfg: &Cfg<'_>) -> Result<Box<dyn Layer>> {
    let mode = cfg.text("interpolation")?.unwrap_or("bilinear");
    Ok(Box::new(Resizing::new(size(cfg)?, mode, |key| cfg.flag(key, false))?))
}

/// Rows and columns, of a layer that has its channels last.
fn size(cfg: &Cfg<'_>) -> Result<[usize; 2]> {
    cfg.channels_last()?;
    Ok([cfg.count("height")?, cfg.count("width")?])
}

impl Layer for Resizing {
    fn emit(&self, e: &mut Emit<'_>, inputs: &Operands) -> Result<ValueId> {
        let x = e.single(inputs)?;
        self.resize(e, x)
    }
}

/// A part that is chosen in training; otherwise an image is resized to be just large enough, and its middle is taken.
struct RandomCrop {
    size: [usize; 2],
}

pub(super) fn random_crop(cfg: &Cfg<'_>) -> Result<Box<dyn Layer>> {
    Ok(Box::new(RandomCrop { size: size(cfg)? }))
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
    Ok(Box::new(CenterCrop { size: size(cfg)? }))
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

/// Appends `image.resize` of Keras or of TensorFlow.
pub(super) fn function(e: &mut Emit<'_>, b: &Bound<'_>, x: ValueId) -> Result<ValueId> {
    b.channels_last(e, usize::MAX)?;
    let list = b.integers(e, &["size"], 1)?.unwrap_or_default();
    let size: Option<Vec<usize>> = list.iter().map(|&n| usize::try_from(n).ok().filter(|&n| n > 0)).collect();
    let Some(&[height, width]) = size.as_deref() else { return Err(e.invalid(format!("a size of {list:?}"))) };
    let mode = b.text(e, &["interpolation", "method"], 2)?.unwrap_or("bilinear");
    // What is put around pictures that keep their aspect ratio.
    b.ignore(&["fill_mode", "fill_value"]);
    // TensorFlow's by position, of those that it has.
    let place = |key: &str| match key {
        "preserve_aspect_ratio" => 3,
        "antialias" => 4,
        _ => usize::MAX,
    };
    let resizing = Resizing::new([height, width], mode, |key| b.flag(e, &[key], place(key)))?;
    resizing.resize(e, x)
}

/// Appends `image.crop_images`, or `image.pad_images`, which makes pictures larger.
pub(super) fn border(e: &mut Emit<'_>, b: &Bound<'_>, x: ValueId, larger: bool) -> Result<ValueId> {
    b.channels_last(e, usize::MAX)?;
    let [n, h, w, c] = e.shape(x)[..] else { return Err(e.invalid("an image has four axes")) };
    let word = if larger { "padding" } else { "cropping" };
    let count = |name: &str, at: usize| match b.integers(e, &[name], at)?.as_deref() {
        None => Ok(None),
        Some(&[n]) if (0..=1 << 30).contains(&n) => Ok(Some(n as usize)),
        Some(other) => Err(e.invalid(format!("`{name}` is {other:?}"))),
    };
    // What is taken or put before and behind, and how many there are then: one of the three follows from the others.
    let ends = |[before, behind, target]: [(&str, usize); 3], extent: usize| {
        let names = [format!("{}_{word}", before.0), format!("{}_{word}", behind.0), format!("target_{}", target.0)];
        let given = [count(&names[0], before.1)?, count(&names[1], behind.1)?, count(&names[2], target.1)?];
        let rest = |to: usize| if larger { to.checked_sub(extent) } else { extent.checked_sub(to) };
        let found = match given {
            [Some(before), Some(behind), None] => Some((before, behind)),
            [Some(before), None, Some(to)] => rest(to).and_then(|all| Some((before, all.checked_sub(before)?))),
            [None, Some(behind), Some(to)] => rest(to).and_then(|all| Some((all.checked_sub(behind)?, behind))),
            _ => None,
        };
        let wrong = || e.invalid(format!("{} of {extent}: {given:?}", names.join(", ")));
        let (before, behind) = found.ok_or_else(wrong)?;
        let to = if larger { Some(extent.saturating_add(before + behind)) } else { extent.checked_sub(before + behind) };
        Ok::<_, crate::Error>((before, behind, to.ok_or_else(wrong)?))
    };
    let (top, bottom, height) = ends([("top", 1), ("bottom", 3), ("height", 5)], h)?;
    let (left, right, width) = ends([("left", 2), ("right", 4), ("width", 6)], w)?;
    let op = if larger {
        Op::Pad { pads: vec![(0, 0), (top, bottom), (left, right), (0, 0)], value: 0.0 }
    } else {
        Op::Slice { start: vec![0, top, left, 0], step: vec![1; 4] }
    };
    e.node("", op, &[x], &[n, height, width, c])
}
