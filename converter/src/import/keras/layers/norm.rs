//! Batch normalisation, and the fixed affine maps of preprocessing.

use super::activation::axis_of;
use super::cfg::{EPSILON, values};
use super::merge::pair;
use super::{Cfg, Emit, Integers, Layer, Operands, Var};
use crate::error::Result;
use crate::ir::{Act, BinaryOp, Op, ReduceKind, ValueId};
use serde_json::Value;

/// An element by element operation without an activation.
fn binary(op: BinaryOp) -> Op {
    Op::Binary { op, act: Act::None }
}

/// The axes of an attribute that is a number or a list.
pub(super) fn axes(cfg: &Cfg<'_>, key: &str) -> Result<Vec<i64>> {
    let v = cfg.get(key).ok_or_else(|| cfg.bad(key))?;
    let list = v.as_array().map(Vec::as_slice).unwrap_or(std::slice::from_ref(v));
    list.iter().map(Value::as_i64).collect::<Option<_>>().ok_or_else(|| cfg.bad(key))
}

/// The trained factor and sum of a normalisation, either of which a layer may lack.
struct Affine {
    scale: bool,
    center: bool,
}

impl Affine {
    fn read(cfg: &Cfg<'_>) -> Result<Affine> {
        Ok(Affine { scale: cfg.flag("scale", true)?, center: cfg.flag("center", true)? })
    }

    fn vars(&self) -> impl Iterator<Item = Var> {
        let (gamma, beta) = (self.scale.then_some(Var::trained("gamma")), self.center.then_some(Var::trained("beta")));
        gamma.into_iter().chain(beta)
    }

    /// Gamma and beta for so many channels.
    fn emit(&self, e: &mut Emit<'_>, channels: usize) -> Result<[ValueId; 2]> {
        // A file may claim any number of channels; factors that are there lie in it.
        e.afford(channels * (usize::from(!self.scale) + usize::from(!self.center)))?;
        let mut one = |there: bool, name: &'static str, lacking: f32| {
            if there { e.weight(name, &[channels], &[channels]) } else { e.constant(name, &[channels], vec![lacking; channels]) }
        };
        Ok([one(self.scale, "gamma", 1.0)?, one(self.center, "beta", 0.0)?])
    }
}

struct BatchNorm {
    axis: i64,
    epsilon: f32,
    affine: Affine,
}

/// `BatchNormalization`.
pub(super) fn batch(cfg: &Cfg<'_>) -> Result<Box<dyn Layer>> {
    let axis = match cfg.get("axis") {
        None => -1,
        Some(_) => match axes(cfg, "axis")?[..] {
            [axis] => axis,
            _ => {
                cfg.refuse("several axes", "normalise along one axis");
                -1
            }
        },
    };
    if cfg.get("mode").is_some_and(|m| m != 0) {
        cfg.refuse("mode other than 0", "use mode=0");
    }
    if cfg.flag("renorm", false)? {
        cfg.refuse("renorm = true", "train with renorm=False, or copy the moving statistics into a plain BatchNormalization");
    }
    // What Keras takes for null depends on what runs it.
    if cfg.map.get("epsilon").is_some_and(Value::is_null) {
        return Err(cfg.bad("epsilon"));
    }
    let epsilon = cfg.number("epsilon")?.unwrap_or(1e-3) as f32;
    Ok(Box::new(BatchNorm { axis, epsilon, affine: Affine::read(cfg)? }))
}

impl Layer for BatchNorm {
    fn integers(&self, _: &Operands) -> Integers {
        Integers::Floats
    }

    fn vars(&self) -> Vec<Var> {
        self.affine.vars().chain([Var::fixed("moving_mean"), Var::fixed("moving_variance")]).collect()
    }

    fn emit(&self, e: &mut Emit<'_>, inputs: &Operands) -> Result<ValueId> {
        let x = e.single(inputs)?;
        let shape = e.shape(x);
        let axis = axis_of(e, self.axis, shape.len())?;
        let one = [shape[axis]];
        // The statistics first: they prove that the file has that many channels.
        let mean = e.weight("moving_mean", &one, &one)?;
        let variance = e.weight("moving_variance", &one, &one)?;
        let [gamma, beta] = self.affine.emit(e, shape[axis])?;
        let op = Op::BatchNorm { axis, epsilon: self.epsilon };
        e.node("", op, &[x, gamma, beta, mean, variance], &shape)
    }
}

struct LayerNorm {
    axes: Vec<i64>,
    epsilon: f32,
    affine: Affine,
}

/// `LayerNormalization`.
pub(super) fn layer(cfg: &Cfg<'_>) -> Result<Box<dyn Layer>> {
    let axes = if cfg.get("axis").is_some() { axes(cfg, "axis")? } else { vec![-1] };
    if cfg.flag("rms_scaling", false)? {
        cfg.refuse("rms_scaling = true", "normalise with the mean, or write it as operations");
    }
    let epsilon = cfg.number("epsilon")?.unwrap_or(1e-3) as f32;
    Ok(Box::new(LayerNorm { axes, epsilon, affine: Affine::read(cfg)? }))
}

impl Layer for LayerNorm {
    fn integers(&self, _: &Operands) -> Integers {
        // Keras casts what it makes back to integers.
        Integers::Computed
    }

    fn vars(&self) -> Vec<Var> {
        self.affine.vars().collect()
    }

    fn emit(&self, e: &mut Emit<'_>, inputs: &Operands) -> Result<ValueId> {
        let (x, shape, channels) = along_channels(e, inputs, &self.axes)?;
        let [gamma, beta] = self.affine.emit(e, channels)?;
        e.node("", Op::LayerNorm { epsilon: self.epsilon, centred: true }, &[x, gamma, beta], &shape)
    }
}

struct RmsNorm {
    axes: Vec<i64>,
    epsilon: f32,
}

/// `RMSNormalization`.
pub(super) fn rms(cfg: &Cfg<'_>) -> Result<Box<dyn Layer>> {
    let axes = if cfg.get("axis").is_some() { axes(cfg, "axis")? } else { vec![-1] };
    Ok(Box::new(RmsNorm { axes, epsilon: cfg.number("epsilon")?.unwrap_or(1e-6) as f32 }))
}

impl Layer for RmsNorm {
    fn integers(&self, _: &Operands) -> Integers {
        // Keras casts what it makes back to integers.
        Integers::Computed
    }

    fn vars(&self) -> Vec<Var> {
        vec![Var::trained("scale")]
    }

    fn emit(&self, e: &mut Emit<'_>, inputs: &Operands) -> Result<ValueId> {
        let (x, shape, channels) = along_channels(e, inputs, &self.axes)?;
        e.afford(channels)?;
        let (scale, shift) = (e.weight("scale", &[channels], &[channels])?, e.constant("shift", &[channels], vec![0.0; channels])?);
        e.node("", Op::LayerNorm { epsilon: self.epsilon, centred: false }, &[x, scale, shift], &shape)
    }
}

struct GroupNorm {
    groups: i64,
    axis: i64,
    epsilon: f32,
    affine: Affine,
}

/// `GroupNormalization`.
pub(super) fn group(cfg: &Cfg<'_>) -> Result<Box<dyn Layer>> {
    let groups = match cfg.get("groups") {
        None => 32,
        Some(v) => v.as_i64().filter(|&n| n == -1 || n > 0).ok_or_else(|| cfg.bad("groups"))?,
    };
    let axis = match cfg.get("axis") {
        None => -1,
        Some(v) => v.as_i64().ok_or_else(|| cfg.bad("axis"))?,
    };
    let epsilon = cfg.number("epsilon")?.unwrap_or(1e-3) as f32;
    Ok(Box::new(GroupNorm { groups, axis, epsilon, affine: Affine::read(cfg)? }))
}

impl Layer for GroupNorm {
    fn integers(&self, _: &Operands) -> Integers {
        // Keras casts what it makes back to integers.
        Integers::Computed
    }

    fn vars(&self) -> Vec<Var> {
        self.affine.vars().collect()
    }

    /// The channels of a group, with all pixels, are one run whose mean and deviation it is about.
    fn emit(&self, e: &mut Emit<'_>, inputs: &Operands) -> Result<ValueId> {
        let (x, shape, channels) = along_channels(e, inputs, &[self.axis])?;
        let groups = if self.groups == -1 { channels } else { self.groups as usize };
        if shape.len() < 2 || channels % groups != 0 {
            return Err(e.invalid(format!("{groups} groups of {shape:?}")));
        }
        let [gamma, beta] = self.affine.emit(e, channels)?;
        let (n, each) = (shape[0], channels / groups);
        let pixels: usize = shape[1..shape.len() - 1].iter().product();
        let (apart, together, runs) = ([n, pixels, groups, each], [n, groups, pixels, each], [n, groups, pixels * each]);
        let turn = || Op::Transpose { perm: vec![0, 2, 1, 3] };
        let y = e.node("groups", Op::Reshape, &[x], &apart)?;
        let y = e.node("together", turn(), &[y], &together)?;
        let y = e.node("runs", Op::Reshape, &[y], &runs)?;
        let (one, epsilon) = ([n, groups, 1], e.constant("epsilon", &[1], vec![self.epsilon])?);
        let mean = || Op::Reduce { kind: ReduceKind::Mean, axes: vec![2], keep_dims: true };
        let middle = e.node("mean", mean(), &[y], &one)?;
        let y = e.node("centred", binary(BinaryOp::Sub), &[y, middle], &runs)?;
        let square = e.node("square", binary(BinaryOp::Mul), &[y, y], &runs)?;
        let variance = e.node("variance", mean(), &[square], &one)?;
        let variance = e.node("more", binary(BinaryOp::Add), &[variance, epsilon], &one)?;
        let deviation = e.node("deviation", Op::Act(Act::Sqrt), &[variance], &one)?;
        let y = e.node("normal", binary(BinaryOp::Div), &[y, deviation], &runs)?;
        let y = e.node("split", Op::Reshape, &[y], &together)?;
        let y = e.node("apart", turn(), &[y], &apart)?;
        let y = e.node("shape", Op::Reshape, &[y], &shape)?;
        let y = e.node("scaled", binary(BinaryOp::Mul), &[y, gamma], &shape)?;
        e.node("", binary(BinaryOp::Add), &[y, beta], &shape)
    }
}

/// The only tensor of a call, its extents and its channels, along which alone there is to be normalised.
fn along_channels(e: &Emit<'_>, inputs: &Operands, axes: &[i64]) -> Result<(ValueId, Vec<usize>, usize)> {
    let x = e.single(inputs)?;
    let shape = e.shape(x);
    let Some(&channels) = shape.last() else { return Err(e.invalid("a single number has no axis")) };
    let last = shape.len() as i64 - 1;
    if !matches!(axes[..], [axis] if axis == -1 || axis == last) {
        return Err(e.unsupported(format!("axis = {axes:?} of {shape:?}"), "normalise along the last axis"));
    }
    Ok((x, shape, channels))
}

/// A factor for each channel, of ConvNeXt.
struct LayerScale {
    channels: usize,
    /// What its variable is called, for which Keras 3 gives no name.
    factor: &'static str,
}

/// `LayerScale`.
pub(super) fn layer_scale(cfg: &Cfg<'_>) -> Result<Box<dyn Layer>> {
    let channels = cfg.get("projection_dim").and_then(Value::as_u64).ok_or_else(|| cfg.bad("projection_dim"))?;
    cfg.number("init_values")?;
    Ok(Box::new(LayerScale { channels: channels as usize, factor: if cfg.keras >= 3 { "variable" } else { "gamma" } }))
}

impl Layer for LayerScale {
    fn integers(&self, _: &Operands) -> Integers {
        Integers::Floats
    }

    fn vars(&self) -> Vec<Var> {
        vec![Var::trained(self.factor)]
    }

    fn emit(&self, e: &mut Emit<'_>, inputs: &Operands) -> Result<ValueId> {
        let (x, shape, channels) = along_channels(e, inputs, &[-1])?;
        if channels != self.channels {
            return Err(e.invalid(format!("projection_dim = {} of {channels} channels", self.channels)));
        }
        let factor = e.weight(self.factor, &[channels], &[channels])?;
        e.node("", binary(BinaryOp::Mul), &[x, factor], &shape)
    }
}

/// `x * scale + offset`, each a number or one number per channel.
struct Rescaling {
    scale: Vec<f32>,
    offset: Vec<f32>,
}

/// `Rescaling`.
pub(super) fn rescaling(cfg: &Cfg<'_>) -> Result<Box<dyn Layer>> {
    let read = |key: &str, default: f64| {
        let Some(v) = cfg.get(key) else { return Ok(vec![default as f32]) };
        match values(v) {
            Some((shape, data)) if shape.len() <= 1 && !data.is_empty() => Ok(data.into_iter().map(|v| v as f32).collect()),
            _ => Err(cfg.bad(key)),
        }
    };
    Ok(Box::new(Rescaling { scale: read("scale", 1.0)?, offset: read("offset", 0.0)? }))
}

impl Layer for Rescaling {
    fn integers(&self, _: &Operands) -> Integers {
        Integers::Floats
    }

    fn emit(&self, e: &mut Emit<'_>, inputs: &Operands) -> Result<ValueId> {
        let x = e.single(inputs)?;
        let shifts = self.offset.iter().any(|&o| o != 0.0);
        let scale = e.constant("scale", &[self.scale.len()], self.scale.clone())?;
        // Several factors make several channels of one.
        let y = pair(e, if shifts { "scaled" } else { "" }, BinaryOp::Mul, x, scale)?;
        if !shifts {
            return Ok(y);
        }
        let offset = e.constant("offset", &[self.offset.len()], self.offset.clone())?;
        pair(e, "", BinaryOp::Add, y, offset)
    }
}

/// `(x - mean) / max(sqrt(variance), epsilon)`, or its inverse.
struct Normalization {
    /// `None`: one mean for everything.
    axes: Option<Vec<i64>>,
    /// From the configuration; otherwise they are weights.
    fixed: Option<(Vec<f32>, Vec<f32>)>,
    invert: bool,
}

/// `Normalization`.
pub(super) fn normalization(cfg: &Cfg<'_>) -> Result<Box<dyn Layer>> {
    let axes = if cfg.map.get("axis").is_some_and(Value::is_null) { None } else { Some(vec![-1]) };
    let axes = if cfg.get("axis").is_some() { Some(self::axes(cfg, "axis")?) } else { axes };
    let read = |key: &str| match cfg.get(key).map(values) {
        None => Ok(None),
        Some(Some((_, data))) => Ok(Some(data.into_iter().map(|v| v as f32).collect::<Vec<_>>())),
        Some(None) => Err(cfg.bad(key)),
    };
    let fixed = match (read("mean")?, read("variance")?) {
        (Some(mean), Some(variance)) => Some((mean, variance)),
        (None, None) => None,
        _ => return Err(cfg.bad("variance")),
    };
    Ok(Box::new(Normalization { axes, fixed, invert: cfg.flag("invert", false)? }))
}

impl Layer for Normalization {
    fn integers(&self, _: &Operands) -> Integers {
        Integers::Floats
    }

    fn vars(&self) -> Vec<Var> {
        match self.fixed {
            Some(_) => Vec::new(),
            None => vec![Var::fixed("mean"), Var::fixed("variance"), Var::fixed("count")],
        }
    }

    fn emit(&self, e: &mut Emit<'_>, inputs: &Operands) -> Result<ValueId> {
        let x = e.single(inputs)?;
        let shape = e.shape(x);
        let mut kept = Vec::new();
        for &axis in self.axes.iter().flatten() {
            kept.push(axis_of(e, axis, shape.len())?);
        }
        kept.sort_unstable();
        kept.dedup();
        let source: Vec<usize> = kept.iter().map(|&a| shape[a]).collect();
        let first = kept.first().copied().unwrap_or(shape.len() - 1);
        let wide: Vec<usize> = (first..shape.len()).map(|a| if kept.contains(&a) { shape[a] } else { 1 }).collect();
        let (mean, deviation) = match &self.fixed {
            None => {
                let mean = e.weight("mean", &source, &wide)?;
                let variance = e.weight("variance", &source, &wide)?;
                let data = e.graph.data(variance).cloned().unwrap_or_default();
                (mean, data.to_vec())
            }
            Some((mean, variance)) => {
                let n: usize = wide.iter().product();
                e.afford(n)?;
                let spread = |list: &Vec<f32>| match list.len() {
                    len if len == n => Ok(list.clone()),
                    1 => Ok(vec![list[0]; n]),
                    len => Err(e.invalid(format!("{len} statistics for an input of the shape {shape:?}"))),
                };
                let (mean, variance) = (spread(mean)?, spread(variance)?);
                (e.constant("mean", &wide, mean)?, variance)
            }
        };
        if let Some(v) = deviation.iter().find(|v| v.is_nan() || **v < 0.0) {
            return Err(e.invalid(format!("a variance of {v}: it must be a number from 0 up; adapt the layer again")));
        }
        let deviation = deviation.into_iter().map(|v| v.sqrt().max(EPSILON)).collect();
        let deviation = e.constant("deviation", &wide, deviation)?;
        let steps = match self.invert {
            false => [(BinaryOp::Sub, mean, "centred"), (BinaryOp::Div, deviation, "")],
            true => [(BinaryOp::Mul, deviation, "scaled"), (BinaryOp::Add, mean, "")],
        };
        let mut y = x;
        for (op, by, part) in steps {
            y = e.node(part, binary(op), &[y, by], &shape)?;
        }
        Ok(y)
    }
}
