//! Hand-made models: records as a converter would write them, and beside each step its meaning in plain loops.
#![allow(dead_code, reason = "each test uses a part of it")]
#![allow(clippy::too_many_arguments, reason = "a builder of tests")]

use sepal_format::Act;
use sepal_format::layout::{BLOCK, pixel_stride};
use sepal_format::op::Params;
use sepal_format::record::*;
use sepal_format::rows::held;
use sepal_format::write;
use sepal_kernels::ops::conv::Window;
use sepal_kernels::{Shape, View, ViewMut, pack, view::span};

mod all_ops;
pub mod fast;
pub mod missed;
#[allow(unused_imports, reason = "each test uses a part of it")]
pub use all_ops::{
    all_ops, all_ops_builder, all_ops_in, all_ops_of, one_depthwise, streamed, streamed_builder, streamed_of, two_plans,
};

/// A small generator (splitmix64).
pub struct Rng(pub u64);

impl Rng {
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    pub fn below(&mut self, n: usize) -> usize {
        (self.bits() % n as u64) as usize
    }
    pub fn values(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| (self.bits() >> 40) as f32 / (1u64 << 23) as f32 - 1.0).collect()
    }
}

/// A tensor without gaps, for the plain loops.
#[derive(Clone)]
pub struct Image {
    pub shape: Shape,
    pub data: Vec<f32>,
}

impl Image {
    pub fn new(shape: Shape) -> Image {
        Image { shape, data: vec![0.0; shape.pixels() * shape.c] }
    }
    pub fn view(&self) -> View<'_> {
        View { data: &self.data, shape: self.shape, pixel: self.shape.c }
    }
    pub fn view_mut(&mut self) -> ViewMut<'_> {
        ViewMut { data: &mut self.data, shape: self.shape, pixel: self.shape.c }
    }
}

type Meaning = Box<dyn Fn(&mut [Image])>;

/// A model under construction.
#[derive(Default)]
pub struct Builder {
    pub tensors: Vec<Tensor>,
    pub steps: Vec<Step>,
    pub pipelines: Vec<Pipeline>,
    pub io: Vec<Io>,
    pub names: Vec<u8>,
    pub weights: Vec<f32>,
    pub tensor_bytes: u64,
    pub scratch_bytes: u64,
    meanings: Vec<Meaning>,
    images: Vec<Image>,
    pub rng: u64,
    /// Whether the weights of convolutions are halves.
    pub halves: bool,
}

pub fn window(kernel: [usize; 2], stride: usize, dilation: usize, pad: usize) -> Window {
    Window { kernel, stride: [stride; 2], dilation: [dilation; 2], pad: [pad; 2] }
}

fn window_record(w: &Window) -> WindowRecord {
    let two = |v: [usize; 2]| v.map(|n| n as u32);
    WindowRecord { kernel: two(w.kernel), stride: two(w.stride), dilation: two(w.dilation), pad: two(w.pad), pad_end: two(w.pad) }
}

impl Builder {
    fn push_tensor(&mut self, shape: Shape, pixel: usize, place: u32, offset: u64) -> u32 {
        let Shape { n, h, w, c } = shape;
        self.tensors.push(Tensor {
            dtype: dtype::F32,
            place,
            offset,
            dims: [n as u32, h as u32, w as u32, c as u32],
            pixel: pixel as u32,
            first: 0,
            last: 0,
            zero_point: 0,
            scale: 0.0,
            rows: 0,
            reserved: [0; 2],
        });
        self.images.push(Image::new(shape));
        self.tensors.len() as u32 - 1
    }

    /// A tensor in memory of its own.
    pub fn with_pixel(&mut self, n: usize, h: usize, w: usize, c: usize, pixel: usize) -> u32 {
        let shape = Shape::new(n, h, w, c);
        let offset = self.tensor_bytes;
        self.tensor_bytes += (span(shape, pixel) as u64 * 4).next_multiple_of(64);
        self.push_tensor(shape, pixel, place::ARENA, offset)
    }
    pub fn tensor(&mut self, n: usize, h: usize, w: usize, c: usize) -> u32 {
        self.with_pixel(n, h, w, c, pixel_stride(c).unwrap())
    }
    pub fn dense(&mut self, n: usize, h: usize, w: usize, c: usize) -> u32 {
        self.with_pixel(n, h, w, c, c)
    }
    /// Channels `from .. from + c` of another tensor.
    pub fn part(&mut self, of: u32, from: usize, c: usize) -> u32 {
        let t = self.tensors[of as usize];
        let shape = Shape { c, ..self.shape(of) };
        self.push_tensor(shape, t.pixel as usize, place::ARENA, t.offset + from as u64 * 4)
    }
    /// Another tensor in the memory of a tensor.
    pub fn alias(&mut self, of: u32, n: usize, h: usize, w: usize, c: usize) -> u32 {
        let t = self.tensors[of as usize];
        self.push_tensor(Shape::new(n, h, w, c), t.pixel as usize, place::ARENA, t.offset)
    }
    pub fn constant(&mut self, n: usize, h: usize, w: usize, c: usize) -> u32 {
        let shape = Shape::new(n, h, w, c);
        let pixel = pixel_stride(c).unwrap();
        let values = self.random(shape.pixels() * c);
        let mut padded = vec![0.0; span(shape, pixel)];
        for (to, from) in padded.chunks_mut(pixel).zip(values.chunks(c)) {
            to[..c].copy_from_slice(from);
        }
        let range = self.store(&padded);
        let t = self.push_tensor(shape, pixel, place::WEIGHTS, range.offset);
        self.images[t as usize].data = values;
        t
    }
    pub fn shape(&self, t: u32) -> Shape {
        self.images[t as usize].shape
    }
    pub fn random(&mut self, n: usize) -> Vec<f32> {
        self.rng += 1;
        Rng(self.rng).values(n)
    }
    pub fn store(&mut self, values: &[f32]) -> Range {
        self.weights.resize(self.weights.len().next_multiple_of(16), 0.0);
        let range = Range { offset: self.weights.len() as u64 * 4, len: values.len() as u64 * 4 };
        self.weights.extend_from_slice(values);
        range
    }
    /// Panels, and their type.
    fn panels(&mut self, values: &[f32]) -> (Range, u32) {
        if !self.halves {
            return (self.store(values), dtype::F32);
        }
        let halves: Vec<u16> = values.iter().map(|&v| half::f16::from_f32(v).to_bits()).collect();
        (self.store(&bytemuck::pod_collect_to_vec(&halves)), dtype::F16)
    }
    pub fn channels(&mut self, groups: usize, values: &[f32]) -> Range {
        let mut padded = vec![0.0; groups * (values.len() / groups).next_multiple_of(BLOCK)];
        pack::channels(groups, values, &mut padded);
        self.store(&padded)
    }

    fn name(&mut self, name: &str) -> (u32, u32) {
        let at = self.names.len() as u32;
        self.names.extend_from_slice(name.as_bytes());
        (at, name.len() as u32)
    }

    pub fn step<P: Params>(&mut self, p: &P, inputs: &[u32], output: u32, meaning: impl Fn(&mut [Image]) + 'static) -> usize {
        let mut slots = [NONE; 4];
        slots[..inputs.len()].copy_from_slice(inputs);
        let (name, name_len) = self.name(P::OP.name());
        self.steps.push(Step {
            op: P::OP as u32,
            flags: 0,
            inputs: slots,
            output,
            name,
            name_len,
            reserved: [0; 3],
            params: p.bytes(),
        });
        self.meanings.push(Box::new(meaning));
        self.steps.len() - 1
    }

    pub fn io(&mut self, role: u32, tensor: u32, name: &str, dims: &[u32]) {
        let (name, name_len) = self.name(name);
        let mut all = [0; 8];
        all[..dims.len()].copy_from_slice(dims);
        let rank = dims.len() as u32;
        self.io.push(Io { role, tensor, name, name_len, rank, layout: 0, dtype: dtype::F32, reserved: 0, dims: all });
    }

    /// Lives of tensors that steps write, and of inputs and outputs. Views of others' memory are for the caller to fix.
    pub fn lives(&mut self) {
        let end = self.steps.len() as u32;
        for i in 0..self.tensors.len() as u32 {
            let writes = self.steps.iter().position(|s| s.output == i);
            let reads = self.steps.iter().rposition(|s| s.inputs.contains(&i));
            let last_write = self.steps.iter().rposition(|s| s.output == i);
            let t = &mut self.tensors[i as usize];
            t.first = writes.unwrap_or(0) as u32;
            t.last = reads.max(last_write).unwrap_or(0) as u32;
            if self.io.iter().any(|io| io.role == role::OUTPUT && io.tensor == i) {
                t.last = end;
            }
        }
    }

    /// Makes a pipeline of some steps whose lives are set: what lies between them goes to scratch.
    pub fn stream(&mut self, steps: std::ops::Range<usize>, band: u32) {
        let rows = held(&self.steps[steps.clone()], &self.tensors, band).expect("a pipeline");
        let mut at = 0;
        for (step, &rows) in self.steps[steps.clone()].iter().zip(&rows).take(steps.len() - 1) {
            let t = &mut self.tensors[step.output as usize];
            (t.place, t.offset, t.rows) = (place::ROWS, at, rows as u32);
            t.last = steps.end as u32 - 1;
            at += rows as u64 * u64::from(t.dims[2]) * u64::from(t.pixel) * 4;
        }
        for step in &self.steps[steps.clone()] {
            for &t in step.inputs.iter().filter(|&&t| t != NONE) {
                let t = &mut self.tensors[t as usize];
                t.last = t.last.max(steps.end as u32 - 1);
            }
        }
        let mut need = 0;
        for (step, &rows) in self.steps[steps.clone()].iter().zip(&rows) {
            let op = step.op_ref().unwrap();
            let [n, h, w, c] = op.sees(0, &self.tensors[step.inputs[0] as usize]).dims.map(|d| d as usize);
            let (x, y) = (Shape::new(n, h, w, c), self.shape(step.output));
            need = need.max(sepal::plan::scratch_by_rows(&op, x, y, rows as usize));
        }
        self.needs_scratch(at as usize / 4 + need);
        let (first, count) = (steps.start as u32, steps.len() as u32);
        self.pipelines.push(Pipeline { first, steps: count, band, reserved: 0 });
    }

    pub fn model(&self) -> write::Model {
        write::Model {
            plan: Plan { tensor_bytes: self.tensor_bytes, scratch_bytes: self.scratch_bytes, macs: 1, reserved: [0; 5] },
            tensors: self.tensors.clone(),
            steps: self.steps.clone(),
            pipelines: self.pipelines.clone(),
            io: self.io.clone(),
            names: self.names.clone(),
            extra: vec![(section::PROVENANCE, b"{}".to_vec())],
        }
    }

    /// The file.
    pub fn file(&self) -> Vec<u8> {
        let weights: &[u8] = bytemuck::cast_slice(&self.weights);
        let mut file = self.model().structure(weights);
        file.extend_from_slice(weights);
        file
    }

    /// A file of several plans over the weights of the first. What is stored twice is the caller's affair.
    pub fn file_of(plans: &[&Builder]) -> Vec<u8> {
        let [first, ..] = plans else { return Vec::new() };
        let weights: &[u8] = bytemuck::cast_slice(&first.weights);
        let models: Vec<write::Model> = plans.iter().map(|b| b.model()).collect();
        let mut file = write::structure(&models, weights);
        file.extend_from_slice(weights);
        file
    }

    /// What plain loops give for inputs: all outputs.
    pub fn reference(&self, inputs: &[Vec<f32>]) -> Vec<Vec<f32>> {
        let mut images = self.images.clone();
        let (given, wanted): (Vec<&Io>, Vec<&Io>) = self.io.iter().partition(|io| io.role == role::INPUT);
        for (io, values) in given.iter().zip(inputs) {
            images[io.tensor as usize].data = values.clone();
        }
        for meaning in &self.meanings {
            meaning(&mut images);
        }
        wanted.iter().map(|io| images[io.tensor as usize].data.clone()).collect()
    }

    /// Runs `f` on output image and clones of input images.
    pub fn on(output: u32, inputs: &[u32], f: impl Fn(&[Image], &mut Image) + 'static) -> impl Fn(&mut [Image]) + 'static {
        let inputs = inputs.to_vec();
        move |all: &mut [Image]| {
            let read: Vec<Image> = inputs.iter().map(|&i| all[i as usize].clone()).collect();
            f(&read, &mut all[output as usize]);
        }
    }
}

/// Records of a convolution with random weights, and the weights as plain loops take them.
pub struct ConvParts {
    pub params: ConvParams,
    pub weights: Vec<f32>,
    pub bias: Vec<f32>,
}

impl Builder {
    pub fn conv_parts(&mut self, w: Window, groups: usize, c: usize, n: usize, act: Act) -> ConvParts {
        let taps = w.kernel[0] * w.kernel[1];
        let (mut weights, bias) = (self.random(taps * c / groups * n), self.random(n));
        if self.halves {
            weights.iter_mut().for_each(|w| *w = half::f16::from_f32(*w).to_f32());
        }
        let mut panels = vec![0.0; pack::conv_len(w.kernel, c / groups, n, groups).unwrap()];
        pack::conv(w.kernel, c / groups, n, groups, &weights, &mut panels);
        let (range, weight_dtype) = self.panels(&panels);
        let params = ConvParams {
            weights: range,
            bias: self.channels(groups, &bias),
            window: window_record(&w),
            groups: groups as u32,
            act: act.record(),
            weight_dtype,
            algorithm: 0,
            take: 0,
            reserved: 0,
        };
        ConvParts { params, weights, bias }
    }

    pub fn depthwise_parts(&mut self, w: Window, c: usize, pre_relu: bool, act: Act) -> (DepthwiseParams, Vec<f32>, Vec<f32>) {
        let (weights, bias) = (self.random(w.kernel[0] * w.kernel[1] * c), self.random(c));
        let mut panels = vec![0.0; w.kernel[0] * w.kernel[1] * c.next_multiple_of(BLOCK)];
        pack::depthwise(w.kernel, c, &weights, &mut panels);
        let params = DepthwiseParams {
            weights: self.store(&panels),
            bias: self.channels(1, &bias),
            window: window_record(&w),
            pre_relu: pre_relu.into(),
            act: act.record(),
            weight_dtype: dtype::F32,
            reserved: 0,
        };
        (params, weights, bias)
    }

    pub fn pool_params(w: Window, kind: u32) -> PoolParams {
        PoolParams { window: window_record(&w), kind, reserved: 0 }
    }

    pub fn needs_scratch(&mut self, floats: usize) {
        self.scratch_bytes = self.scratch_bytes.max((floats as u64 * 4).next_multiple_of(64));
    }
}
