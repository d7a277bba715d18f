//! Convolutions. One-dimensional ones run as images of one row.

use super::activation::{Steps, apply, attribute, fused};
use super::cfg::Padding;
use super::{Cfg, Emit, Integers, Layer, Operands, Var};
use crate::error::Result;
use crate::ir::{Act, Op, Pads, ValueId, Window};

/// Kernel, stride, dilation and padding of a layer, before the input's extents are known.
#[derive(Clone, Copy, Debug)]
pub(super) struct Geometry {
    /// 1 or 2.
    pub rank: usize,
    /// Rows and columns.
    pub kernel: [usize; 2],
    /// Down and across.
    pub stride: [usize; 2],
    /// Down and across.
    pub dilation: [usize; 2],
    /// How the input is padded.
    pub padding: Padding,
}

impl Geometry {
    fn parse(cfg: &Cfg<'_>, rank: usize) -> Result<Geometry> {
        cfg.channels_last()?;
        Ok(Geometry {
            rank,
            kernel: cfg.extents("kernel_size", rank, None)?,
            stride: cfg.extents("strides", rank, Some(1))?,
            dilation: cfg.extents("dilation_rate", rank, Some(1))?,
            padding: cfg.padding(rank == 1)?,
        })
    }

    /// Extents of a window with the holes of its dilation.
    fn reach(&self, axis: usize) -> Option<usize> {
        (self.kernel[axis] - 1).checked_mul(self.dilation[axis])?.checked_add(1)
    }

    /// The window over an image of the given extents, and how many positions it has. TensorFlow's rules: `same` gives
    /// `ceil(in / stride)` positions and pads the end with the odd pixel.
    pub fn over(&self, e: &Emit<'_>, image: [usize; 2]) -> Result<(Window, [usize; 2])> {
        let (mut out, mut before, mut after) = ([0; 2], [0; 2], [0; 2]);
        for a in 0..2 {
            let too_large = || e.invalid(format!("a window of {:?} does not fit into {image:?} pixels", self.kernel));
            let reach = self.reach(a).ok_or_else(too_large)?;
            match self.padding {
                Padding::Valid => out[a] = image[a].checked_sub(reach).ok_or_else(too_large)? / self.stride[a] + 1,
                Padding::Same => {
                    out[a] = image[a].div_ceil(self.stride[a]);
                    let all = ((out[a] - 1) * self.stride[a]).checked_add(reach).ok_or_else(too_large)?.saturating_sub(image[a]);
                    before[a] = all / 2;
                    after[a] = all - all / 2;
                }
                Padding::Causal => {
                    // Only along the last axis; the other one has an extent of 1.
                    before[a] = reach - 1;
                    out[a] = (image[a] - 1) / self.stride[a] + 1;
                }
            }
        }
        let pads = Pads { top: before[0], left: before[1], bottom: after[0], right: after[1] };
        Ok((Window { kernel: self.kernel, stride: self.stride, dilation: self.dilation, pads }, out))
    }

    /// The input as an image.
    pub fn image(&self, e: &mut Emit<'_>, inputs: &Operands) -> Result<ValueId> {
        let x = e.ranked(inputs, self.rank + 2)?;
        if self.rank == 2 {
            return Ok(x);
        }
        let s = e.shape(x);
        e.node("image", Op::Reshape, &[x], &[s[0], 1, s[1], s[2]])
    }

    /// An image as the layer's result: the inverse of [`Geometry::image`].
    pub fn back(&self, e: &mut Emit<'_>, y: ValueId) -> Result<ValueId> {
        if self.rank == 2 {
            return Ok(y);
        }
        let s = e.shape(y);
        e.node("", Op::Reshape, &[y], &[s[0], s[2], s[3]])
    }

    /// Extents of a kernel in the file.
    fn kernel_shape(&self, rest: [usize; 2]) -> Vec<usize> {
        let mut all = self.kernel[2 - self.rank..].to_vec();
        all.extend(rest);
        all
    }

    /// Appends a convolution, of which `part` is the part name.
    fn conv(&self, e: &mut Emit<'_>, part: &str, x: ValueId, half: Half) -> Result<ValueId> {
        let s = e.shape(x);
        let (window, [oh, ow]) = self.over(e, [s[1], s[2]])?;
        let mut all = vec![x, half.kernel];
        all.extend(half.bias);
        let channels = e.shape(half.kernel)[3];
        let bias = half.bias.is_some();
        let op = Op::Conv { window, groups: half.groups, bias, residual: false, pre_relu: false, act: half.act };
        let part = if self.rank == 1 && part.is_empty() { "convolution" } else { part };
        e.node(part, op, &all, &[s[0], oh, ow, channels])
    }
}

/// A convolution's constants.
struct Half {
    kernel: ValueId,
    bias: Option<ValueId>,
    groups: usize,
    act: Act,
}

fn bias_of(e: &mut Emit<'_>, used: bool, channels: usize) -> Result<Option<ValueId>> {
    used.then(|| e.weight("bias", &[channels], &[channels])).transpose()
}

struct Conv {
    geometry: Geometry,
    filters: usize,
    groups: usize,
    bias: bool,
    activation: Steps,
}

/// `Conv1D`, `Conv2D`.
pub(super) fn conv(cfg: &Cfg<'_>, rank: usize) -> Result<Box<dyn Layer>> {
    let geometry = Geometry::parse(cfg, rank)?;
    let groups = if cfg.get("groups").is_some() { cfg.count("groups")? } else { 1 };
    let filters = cfg.count("filters")?;
    if !filters.is_multiple_of(groups) {
        return Err(cfg.bad("groups"));
    }
    Ok(Box::new(Conv { geometry, filters, groups, bias: cfg.flag("use_bias", true)?, activation: attribute(cfg)? }))
}

impl Layer for Conv {
    fn integers(&self, _: &Operands) -> Integers {
        Integers::Floats
    }

    fn vars(&self) -> Vec<Var> {
        let mut vars = vec![Var::trained("kernel")];
        vars.extend(self.bias.then_some(Var::trained("bias")));
        vars
    }

    fn emit(&self, e: &mut Emit<'_>, inputs: &Operands) -> Result<ValueId> {
        let x = self.geometry.image(e, inputs)?;
        let channels = e.shape(x)[3];
        if !channels.is_multiple_of(self.groups) {
            return Err(e.invalid(format!("{} groups do not divide {channels} channels", self.groups)));
        }
        let rest = [channels / self.groups, self.filters];
        let [kh, kw] = self.geometry.kernel;
        let kernel = e.weight("kernel", &self.geometry.kernel_shape(rest), &[kh, kw, rest[0], rest[1]])?;
        let bias = bias_of(e, self.bias, self.filters)?;
        let (act, after) = fused(&self.activation);
        let y = self.geometry.conv(e, "", x, Half { kernel, bias, groups: self.groups, act })?;
        let y = self.geometry.back(e, y)?;
        apply(e, y, after, false)
    }
}

struct Depthwise {
    geometry: Geometry,
    multiplier: usize,
    /// The filters of a pointwise half, if there is one.
    filters: Option<usize>,
    bias: bool,
    activation: Steps,
}

impl Depthwise {
    fn parse(cfg: &Cfg<'_>, rank: usize, filters: Option<usize>) -> Result<Box<dyn Layer>> {
        let geometry = Geometry::parse(cfg, rank)?;
        let multiplier = if cfg.get("depth_multiplier").is_some() { cfg.count("depth_multiplier")? } else { 1 };
        if cfg.get("groups").is_some() && cfg.count("groups")? != 1 {
            cfg.refuse("groups other than 1", "use groups=1");
        }
        let (bias, activation) = (cfg.flag("use_bias", true)?, attribute(cfg)?);
        Ok(Box::new(Depthwise { geometry, multiplier, filters, bias, activation }))
    }
}

/// `DepthwiseConv1D`, `DepthwiseConv2D`.
pub(super) fn depthwise(cfg: &Cfg<'_>, rank: usize) -> Result<Box<dyn Layer>> {
    Depthwise::parse(cfg, rank, None)
}

/// `SeparableConv1D`, `SeparableConv2D`: two nodes, `<layer>/depthwise` and `<layer>/pointwise`.
pub(super) fn separable(cfg: &Cfg<'_>, rank: usize) -> Result<Box<dyn Layer>> {
    Depthwise::parse(cfg, rank, Some(cfg.count("filters")?))
}

impl Layer for Depthwise {
    fn integers(&self, _: &Operands) -> Integers {
        Integers::Floats
    }

    fn vars(&self) -> Vec<Var> {
        let mut vars = vec![Var::trained("depthwise_kernel")];
        vars.extend(self.filters.is_some().then_some(Var::trained("pointwise_kernel")));
        vars.extend(self.bias.then_some(Var::trained("bias")));
        vars
    }

    fn emit(&self, e: &mut Emit<'_>, inputs: &Operands) -> Result<ValueId> {
        let g = &self.geometry;
        let x = g.image(e, inputs)?;
        let channels = e.shape(x)[3];
        let wide = channels.checked_mul(self.multiplier).ok_or_else(|| e.invalid("too many channels"))?;
        let source = g.kernel_shape([channels, self.multiplier]);
        let kernel = e.weight("depthwise_kernel", &source, &[g.kernel[0], g.kernel[1], 1, wide])?;
        let (act, after) = fused(&self.activation);
        let y = if let Some(filters) = self.filters {
            let y = g.conv(e, "depthwise", x, Half { kernel, bias: None, groups: channels, act: Act::None })?;
            let one = Geometry { kernel: [1; 2], stride: [1; 2], dilation: [1; 2], padding: Padding::Valid, ..*g };
            let kernel = e.weight("pointwise_kernel", &one.kernel_shape([wide, filters]), &[1, 1, wide, filters])?;
            let bias = bias_of(e, self.bias, filters)?;
            one.conv(e, "pointwise", y, Half { kernel, bias, groups: 1, act })?
        } else {
            let bias = bias_of(e, self.bias, wide)?;
            g.conv(e, "", x, Half { kernel, bias, groups: channels, act })?
        };
        let y = g.back(e, y)?;
        apply(e, y, after, false)
    }
}

struct Transposed {
    geometry: Geometry,
    filters: usize,
    output_padding: Option<[usize; 2]>,
    bias: bool,
    activation: Steps,
}

/// `Conv1DTranspose`, `Conv2DTranspose`.
pub(super) fn transposed(cfg: &Cfg<'_>, rank: usize) -> Result<Box<dyn Layer>> {
    let mut geometry = Geometry::parse(cfg, rank)?;
    if geometry.padding == Padding::Causal {
        geometry.padding = cfg.padding(false)?;
    }
    if cfg.get("groups").is_some() && cfg.count("groups")? != 1 {
        cfg.refuse("groups other than 1", "use groups=1");
    }
    let output_padding = match cfg.get("output_padding") {
        None => None,
        Some(v) => {
            let list: Option<Vec<u64>> = match v.as_array() {
                Some(a) => a.iter().map(|v| v.as_u64()).collect(),
                None => v.as_u64().map(|n| vec![n; rank]),
            };
            match list.as_deref() {
                Some(&[b]) if rank == 1 && b < geometry.stride[1] as u64 => Some([0, b as usize]),
                Some(&[a, b]) if rank == 2 && a < geometry.stride[0] as u64 && b < geometry.stride[1] as u64 => {
                    Some([a as usize, b as usize])
                }
                _ => return Err(cfg.bad("output_padding")),
            }
        }
    };
    let (filters, bias, activation) = (cfg.count("filters")?, cfg.flag("use_bias", true)?, attribute(cfg)?);
    Ok(Box::new(Transposed { geometry, filters, output_padding, bias, activation }))
}

impl Transposed {
    /// Extent of the output and the padding of the convolution whose gradient this is, along one axis.
    fn extent(&self, axis: usize, input: usize) -> Option<(usize, usize, usize)> {
        let g = &self.geometry;
        let (stride, reach) = (g.stride[axis], g.reach(axis)?);
        let full = (input - 1).checked_mul(stride)?.checked_add(reach)?;
        let out = match (self.output_padding, g.padding) {
            (None, Padding::Same) => input.checked_mul(stride)?,
            (None, _) => input.checked_mul(stride)?.checked_add(reach.saturating_sub(stride))?,
            (Some(p), Padding::Same) => full.checked_add(p[axis])?.checked_sub(2 * (reach / 2))?,
            (Some(p), _) => full.checked_add(p[axis])?,
        };
        let cut = if g.padding == Padding::Same { full.saturating_sub(out) } else { 0 };
        let before = cut / 2;
        Some((out, before, full.saturating_sub(out).saturating_sub(before)))
    }
}

impl Layer for Transposed {
    fn integers(&self, _: &Operands) -> Integers {
        Integers::Floats
    }

    fn vars(&self) -> Vec<Var> {
        let mut vars = vec![Var::trained("kernel")];
        vars.extend(self.bias.then_some(Var::trained("bias")));
        vars
    }

    fn emit(&self, e: &mut Emit<'_>, inputs: &Operands) -> Result<ValueId> {
        let g = &self.geometry;
        let x = g.image(e, inputs)?;
        let s = e.shape(x);
        let (Some((oh, top, bottom)), Some((ow, left, right))) = (self.extent(0, s[1]), self.extent(1, s[2])) else {
            return Err(e.invalid(format!("the output for {s:?} has no sensible extent")));
        };
        let pads = Pads { top, left, bottom, right };
        let window = Window { kernel: g.kernel, stride: g.stride, dilation: g.dilation, pads };
        let [kh, kw] = g.kernel;
        let kernel = e.weight("kernel", &g.kernel_shape([self.filters, s[3]]), &[kh, kw, self.filters, s[3]])?;
        let mut all = vec![x, kernel];
        all.extend(bias_of(e, self.bias, self.filters)?);
        let (act, after) = fused(&self.activation);
        let op = Op::ConvTranspose { window, groups: 1, bias: self.bias, act };
        let y = e.node(if g.rank == 1 { "convolution" } else { "" }, op, &all, &[s[0], oh, ow, self.filters])?;
        let y = g.back(e, y)?;
        apply(e, y, after, false)
    }
}
