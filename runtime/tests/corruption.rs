//! Any bytes are refused or run: never a panic, never an access outside the arena.

mod common;

use common::{Rng, all_ops, all_ops_builder, all_ops_of, fast::fast, streamed_builder, streamed_of, two_plans};
use sepal::{AlignedBytes, FormatErrorKind, LoadError, Model, Options, Session};
use sepal_format::ModelView;
use sepal_format::record::*;
use std::mem::offset_of;

/// Most bytes of an arena that a test makes.
const ARENA: usize = 4 << 20;

/// Of so many damaged files one is tried: all, if `SEPAL_ONE_OF` does not say otherwise, as it does for an emulator.
fn one_of() -> usize {
    std::env::var("SEPAL_ONE_OF").map_or(1, |n| n.parse().expect("SEPAL_ONE_OF is a number"))
}

/// A file whose structure is damaged on purpose.
struct Victim {
    file: AlignedBytes,
    /// Where the weights begin.
    structure: usize,
    /// Of so many accepted mutants one is run: all, where there are wide vectors; elsewhere, and in an emulator, that takes too long.
    every: usize,
    /// Mutants that passed verification.
    accepted: usize,
}

impl Victim {
    fn new() -> Victim {
        Self::of(&all_ops().0)
    }

    fn of(file: &[u8]) -> Victim {
        let file = AlignedBytes::copy(file).unwrap();
        let structure = file.len() - ModelView::parse(&file).unwrap().weights().len() * 4;
        let wide = matches!(Model::from_bytes(&file).unwrap().isa().name(), "avx2" | "avx512");
        Victim { file, structure, every: if wide { 1 } else { 7 }, accepted: 0 }
    }

    /// Ranges of the file that hold records, the table and the header.
    fn records(&self) -> Vec<std::ops::Range<usize>> {
        let header: Header = bytemuck::pod_read_unaligned(&self.file[..64]);
        let table: &[Section] = bytemuck::cast_slice(&self.file[64..][..header.sections as usize * size_of::<Section>()]);
        let mut all: Vec<_> = std::iter::once(0..64 + size_of_val(table)).collect();
        all.extend(table.iter().filter(|s| s.kind != section::WEIGHTS).map(|s| s.offset as usize..(s.offset + s.len) as usize));
        all
    }

    fn fix_hash(&mut self) {
        let hash = sepal_format::structure_hash(&self.file[..self.structure]);
        self.file[offset_of!(Header, structure_hash)..][..8].copy_from_slice(&hash.to_le_bytes());
    }

    /// Fixes the hash up, loads, and runs what is accepted, or one of so many.
    fn try_out(&mut self, threads: usize) -> Option<FormatErrorKind> {
        self.fix_hash();
        let model = match Model::from_bytes(&self.file) {
            Ok(model) => model,
            Err(LoadError::Format(e)) => return Some(e.kind()),
            Err(e) => panic!("{e}"),
        };
        self.accepted += 1;
        if !self.accepted.is_multiple_of(self.every) {
            return None;
        }
        for model in model.plans().filter(|m| m.arena_bytes(threads) <= ARENA) {
            let mut session = Session::new(&model, Options { threads }).unwrap();
            for i in 0..model.inputs().len() {
                session.input_mut(i).unwrap().fill(0.5);
            }
            session.run();
            for i in 0..model.outputs().len() {
                session.output(i).unwrap();
            }
        }
        None
    }
}

#[test]
fn every_byte_of_the_structure_is_hashed() {
    let mut v = Victim::new();
    for i in 0..v.structure {
        for bit in [1, 0x80] {
            v.file[i] ^= bit;
            assert!(Model::from_bytes(&v.file).is_err(), "byte {i}");
            v.file[i] ^= bit;
        }
    }
}

#[test]
fn every_length() {
    let (file, ..) = all_ops();
    let whole = AlignedBytes::copy(&file).unwrap();
    for len in 0..file.len() {
        assert!(Model::from_bytes(&whole[..len]).is_err(), "{len} bytes");
    }
    // A header that agrees with the length.
    let mut v = Victim::new();
    let at = offset_of!(Header, file_len);
    for len in (64..file.len()).step_by(7) {
        v.file[at..at + 8].copy_from_slice(&(len as u64).to_le_bytes());
        v.fix_hash();
        assert!(Model::from_bytes(&v.file[..len]).is_err(), "{len} bytes");
    }
    let mut longer = file.clone();
    longer.extend_from_slice(&[0; 64]);
    assert!(Model::from_bytes(&AlignedBytes::copy(&longer).unwrap()).is_err());
}

#[test]
fn unaligned_bytes() {
    let (file, ..) = all_ops();
    let mut shifted = vec![0; 4];
    shifted.extend_from_slice(&file);
    let bytes = AlignedBytes::copy(&shifted).unwrap();
    let Err(LoadError::Format(e)) = Model::from_bytes(&bytes[4..]) else { panic!("accepted") };
    assert_eq!(e.kind(), FormatErrorKind::Alignment);
}

#[test]
fn every_byte_of_every_record() {
    every_byte_of(Victim::new());
    every_byte_of(Victim::of(&two_plans().0));
    every_byte_of(Victim::of(&fast().0));
    every_byte_of(Victim::of(&all_ops_of(true).0));
}

fn every_byte_of(mut v: Victim) {
    let (mut tried, one_of) = (0, one_of());
    for range in v.records() {
        for i in range {
            let old = v.file[i];
            for new in [old ^ 1, old ^ 2, old ^ 0x10, old ^ 0x40, old ^ 0x80, 0, 0xff, old.wrapping_add(1)] {
                v.file[i] = new;
                if usize::is_multiple_of(tried, one_of) {
                    v.try_out(1);
                }
                tried += 1;
            }
            v.file[i] = old;
        }
    }
    assert_eq!(v.try_out(1), None);
    assert!(tried > 30_000, "{tried}");
    // Lives, names, activations, strides may change; most else may not.
    let tried = tried / one_of;
    assert!(v.accepted > tried / 100 && v.accepted < tried / 2, "{} of {tried} accepted", v.accepted);
}

#[test]
fn several_words_at_a_time() {
    several_words_of(Victim::new());
    several_words_of(Victim::of(&two_plans().0));
    several_words_of(Victim::of(&fast().0));
    several_words_of(Victim::of(&streamed_of([1, 2], true).0));
}

fn several_words_of(mut v: Victim) {
    let mut records = v.records();
    // Sections but the names and the JSON, whose bytes matter least.
    records.remove(5);
    records.retain(|range| range.len() >= 16);
    let mut rng = Rng(2024);
    let clean = AlignedBytes::copy(&v.file).unwrap();
    let (tried, one_of) = (30_000, one_of());
    for i in 0..tried / one_of {
        for _ in 0..1 + rng.below(3) {
            let range = records[rng.below(records.len())].clone();
            let at = range.start + rng.below(range.len() / 4) * 4;
            let other = range.start + rng.below(range.len() / 4) * 4;
            let old = u32::from_le_bytes(v.file[at..at + 4].try_into().unwrap());
            let new = match rng.below(12) {
                0 => 0,
                1 => 1,
                2 => u32::MAX,
                3 => 1 << rng.below(32),
                4 => (1 << rng.below(32)) - 1,
                5 => old.wrapping_add(1),
                6 => old.wrapping_sub(1),
                7 => old.wrapping_add(16),
                8 => old.wrapping_sub(16),
                9 => old.wrapping_mul(2),
                10 => old / 2,
                _ => u32::from_le_bytes(v.file[other..other + 4].try_into().unwrap()),
            };
            v.file[at..at + 4].copy_from_slice(&new.to_le_bytes());
        }
        v.try_out(1 + i % 2);
        v.file.copy_from_slice(&clean);
    }
    assert!(v.accepted > tried / one_of / 100, "{} accepted", v.accepted);
}

/// What a change to the model of all operators is refused for.
fn refusal(change: impl FnOnce(&mut common::Builder)) -> Option<FormatErrorKind> {
    let mut b = all_ops_builder();
    change(&mut b);
    let bytes = AlignedBytes::copy(&b.file()).unwrap();
    match Model::from_bytes(&bytes) {
        Ok(_) => None,
        Err(LoadError::Format(e)) => Some(e.kind()),
        Err(e) => panic!("{e}"),
    }
}

#[test]
fn what_is_refused_and_why() {
    use FormatErrorKind as K;
    assert_eq!(refusal(|_| ()), None);
    assert_eq!(refusal(|b| b.tensor_bytes += 1), Some(K::Plan));
    assert_eq!(refusal(|b| b.scratch_bytes = 1 << 60), Some(K::Plan));
    assert_eq!(refusal(|b| b.tensor_bytes -= 64), Some(K::Tensor));
    assert_eq!(refusal(|b| b.tensors[3].dtype = dtype::F16), Some(K::Tensor));
    assert_eq!(refusal(|b| b.tensors[3].dims[1] = 0), Some(K::Tensor));
    assert_eq!(refusal(|b| b.tensors[3].dims = [u32::MAX; 4]), Some(K::Tensor));
    assert_eq!(refusal(|b| b.tensors[3].offset += 4), Some(K::Tensor));
    assert_eq!(refusal(|b| b.tensors[3].pixel = 8), Some(K::Tensor));
    assert_eq!(refusal(|b| b.io[0].dims[1] += 1), Some(K::Io));
    assert_eq!(refusal(|b| b.io[0].rank = 9), Some(K::Io));
    assert_eq!(refusal(|b| b.io[1].tensor = b.io[0].tensor), Some(K::Io));
    assert_eq!(refusal(|b| b.io.swap(1, 2)), Some(K::Io));
    assert_eq!(refusal(|b| b.io[0].name_len = 1 << 20), Some(K::Name));
    assert_eq!(refusal(|b| b.names[0] = 0xff), Some(K::Name));
    // One name for all is no matter, but not 16 MB together.
    let shared = |len: u32| {
        refusal(move |b| {
            b.names.resize(b.names.len() + len as usize, b'n');
            let at = b.names.len() as u32 - len;
            b.io.iter_mut().for_each(|io| (io.name, io.name_len) = (at, len));
            b.steps.iter_mut().for_each(|step| (step.name, step.name_len) = (at, len));
        })
    };
    assert_eq!(shared(1000), None);
    assert_eq!(shared(1 << 20), Some(K::Name));
    assert_eq!(refusal(|b| b.steps[0].op = 1000), Some(K::UnknownOp));
    assert_eq!(refusal(|b| b.steps[0].params[PARAMS - 1] = 1), Some(K::Step));
    assert_eq!(refusal(|b| b.steps[0].flags = 2), Some(K::Step));
    assert_eq!(refusal(|b| b.steps[0].inputs[0] = NONE), Some(K::Step));
    assert_eq!(refusal(|b| b.steps[0].inputs[2] = 0), Some(K::Step));
    assert_eq!(refusal(|b| b.steps[0].flags = IN_PLACE), Some(K::Step));
    // How a convolution takes its input: planes with gaps or by Winograd's algorithm, a gate of other channels or for groups.
    let conv = |b: &mut common::Builder, back: usize, change: &dyn Fn(&mut ConvParams)| {
        let at = b.steps.len() - back;
        let p = &mut b.steps[at].params[..size_of::<ConvParams>()];
        change(bytemuck::from_bytes_mut(p));
    };
    assert_eq!(refusal(|b| conv(b, 4, &|p| p.take = 3)), Some(K::Step));
    assert_eq!(refusal(|b| conv(b, 4, &|p| p.reserved = 1)), Some(K::Step));
    assert_eq!(refusal(|b| conv(b, 4, &|p| p.take = take::PLAIN)), Some(K::Step));
    assert_eq!(refusal(|b| conv(b, 2, &|p| p.take = take::PLAIN)), Some(K::Step));
    assert_eq!(refusal(|b| conv(b, 2, &|p| p.take = take::PLANES)), Some(K::Step));
    assert_eq!(refusal(|b| conv(b, 2, &|p| p.groups = 2)), Some(K::Step));
    assert_eq!(refusal(|b| conv(b, 4, &|p| p.algorithm = sepal_format::winograd::code([2, 2]))), Some(K::Step));
    assert_eq!(refusal(|b| conv(b, 4, &|p| p.algorithm = sepal_format::strassen::CODE)), Some(K::Step));
    assert_eq!(refusal(|b| conv(b, 2, &|p| p.algorithm = sepal_format::strassen::CODE)), Some(K::Step));
    assert_eq!(refusal(|b| b.steps.last_mut().unwrap().inputs[1] = b.steps[0].output), Some(K::Step));
    assert_eq!(refusal(|b| b.steps.last_mut().unwrap().inputs[3] = 0), Some(K::Step));
    let gaps = |b: &mut common::Builder| {
        let x = b.steps[b.steps.len() - 4].inputs[0] as usize;
        (b.tensors[x].dims[3], b.tensors[x].dims[1]) = (2, 13);
    };
    assert!(refusal(gaps).is_some());
    // The order of steps: a tensor read before it is there, and one overwritten while it is needed.
    assert_eq!(refusal(|b| b.steps.swap(0, 1)), Some(K::Overlap));
    let reuse = |b: &mut common::Builder| {
        let (first, third) = (b.steps[0].output as usize, b.steps[2].output as usize);
        b.tensors[third].offset = b.tensors[first].offset;
    };
    assert_eq!(refusal(reuse), Some(K::Overlap));
    // Sound plans stay sound when unknown optional sections come along, and do not when they are required.
    let b = all_ops_builder();
    for (kind, flag, want) in [(900, 0, None), (900, 1, Some(K::UnknownSection))] {
        let mut model = b.model();
        model.extra[0].0 = kind;
        let weights: &[u8] = bytemuck::cast_slice(&b.weights);
        let mut file = AlignedBytes::copy(&[model.structure(weights), weights.to_vec()].concat()).unwrap();
        let structure = file.len() - weights.len();
        file[64 + 5 * 32 + 4] = flag;
        let hash = sepal_format::structure_hash(&file[..structure]);
        file[16..24].copy_from_slice(&hash.to_le_bytes());
        let got = Model::from_bytes(&file).err().map(|e| match e {
            LoadError::Format(e) => e.kind(),
            e => panic!("{e}"),
        });
        assert_eq!(got, want);
    }
}

/// A type of weights that they were not stored in, or that an operator does not take.
#[test]
fn types_of_weights() {
    let conv = |b: &common::Builder| b.steps.iter().position(|s| s.op == sepal_format::op::Op::Conv as u32).unwrap();
    let at = offset_of!(ConvParams, weight_dtype);
    for code in [0, dtype::F16, dtype::BF16, dtype::I8, dtype::U8, u32::MAX] {
        let change = |b: &mut common::Builder| {
            let i = conv(b);
            b.steps[i].params[at..at + 4].copy_from_slice(&code.to_le_bytes());
        };
        assert_eq!(refusal(change), Some(FormatErrorKind::Step), "{code}");
    }
    let depthwise = |b: &mut common::Builder| {
        let step = b.steps.iter_mut().find(|s| s.op == sepal_format::op::Op::Depthwise as u32).unwrap();
        let mut p: DepthwiseParams = *bytemuck::from_bytes(&step.params[..size_of::<DepthwiseParams>()]);
        (p.weight_dtype, p.weights.len) = (dtype::F16, p.weights.len / 2);
        step.params[..size_of::<DepthwiseParams>()].copy_from_slice(bytemuck::bytes_of(&p));
    };
    assert_eq!(refusal(depthwise), Some(FormatErrorKind::Step));
}

/// Halves may be any bits: the file is accepted, and runs.
#[test]
fn any_halves() {
    let mut v = Victim::of(&all_ops_of(true).0);
    let mut rng = Rng(5);
    for round in 0..20 {
        let start = v.structure;
        for word in v.file[start..].chunks_exact_mut(2) {
            let bits = if round == 0 { 0x7c00 | rng.bits() as u16 } else { rng.bits() as u16 };
            word.copy_from_slice(&bits.to_le_bytes());
        }
        assert_eq!(v.try_out(1 + round % 2), None);
    }
}

#[test]
fn pipelines_that_are_refused_and_why() {
    use FormatErrorKind as K;
    let refusal = |change: &dyn Fn(&mut common::Builder)| {
        let mut b = streamed_builder([2, 3]);
        change(&mut b);
        let bytes = AlignedBytes::copy(&b.file()).unwrap();
        Model::from_bytes(&bytes).err().map(|e| match e {
            LoadError::Format(e) => e.kind(),
            e => panic!("{e}"),
        })
    };
    fn made(b: &mut common::Builder, step: usize) -> &mut Tensor {
        let t = b.steps[step].output as usize;
        &mut b.tensors[t]
    }
    assert_eq!(refusal(&|_| ()), None);
    // Runs of steps.
    assert_eq!(refusal(&|b| b.pipelines[0].steps = 1), Some(K::Pipeline));
    assert_eq!(refusal(&|b| b.pipelines[0].steps = 17), Some(K::Pipeline));
    assert_eq!(refusal(&|b| b.pipelines[0].band = 0), Some(K::Pipeline));
    assert_eq!(refusal(&|b| b.pipelines[0].band = 1025), Some(K::Pipeline));
    assert_eq!(refusal(&|b| b.pipelines[0].reserved = 1), Some(K::Pipeline));
    assert_eq!(refusal(&|b| b.pipelines.swap(0, 1)), Some(K::Pipeline));
    assert_eq!(refusal(&|b| b.pipelines[1].first = 6), Some(K::Pipeline));
    assert_eq!(refusal(&|b| b.pipelines[1].first = u32::MAX), Some(K::Pipeline));
    // Rows for more than there is memory for, on the way of the longer branch.
    assert_eq!(refusal(&|b| b.pipelines[0].band = 3), Some(K::Pipeline));
    for step in 0..6 {
        let fewer = |b: &mut common::Builder| made(b, step).rows -= 1;
        assert_eq!(refusal(&fewer), Some(K::Pipeline), "{step}");
    }
    // Memory of two tensors of a pipeline, of a tensor outside of scratch, or one that is not there.
    assert_eq!(refusal(&|b| made(b, 1).offset = 0), Some(K::Pipeline));
    assert_eq!(refusal(&|b| made(b, 1).offset = 1 << 30), Some(K::Tensor));
    assert_eq!(refusal(&|b| made(b, 1).rows = 0), Some(K::Tensor));
    assert_eq!(refusal(&|b| made(b, 6).rows = 1), Some(K::Tensor));
    assert_eq!(refusal(&|b| b.scratch_bytes -= 64), Some(K::Step));
    // A last tile that would read rows below those that its windows cover.
    let tiles = |rows| {
        let bytes = AlignedBytes::copy(&common::missed::tiles(rows).file()).unwrap();
        Model::from_bytes(&bytes).is_ok()
    };
    assert_eq!([9, 10, 11, 12].map(tiles), [true, true, true, false]);
    // What is read outside, written in the arena, or overwritten while it is read.
    assert_eq!(refusal(&|b| b.steps[7].inputs[0] = b.steps[5].output), Some(K::Step));
    assert_eq!(refusal(&|b| (b.pipelines[0].first, b.pipelines[0].steps) = (0, 6)), Some(K::Step));
    assert_eq!(refusal(&|b| (b.pipelines[1].first, b.pipelines[1].steps) = (8, 4)), Some(K::Step));
    assert_eq!(refusal(&|b| b.steps[5].flags = IN_PLACE), Some(K::Step));
    let image = |b: &mut common::Builder| {
        let offset = b.tensors[b.io[0].tensor as usize].offset;
        made(b, 6).offset = offset;
    };
    assert_eq!(refusal(&image), Some(K::Overlap));
    let ends = |b: &mut common::Builder| {
        let excite = b.io[1].tensor as usize;
        b.tensors[excite].last = 5;
    };
    assert_eq!(refusal(&ends), Some(K::Overlap));
    // A branch by another stride.
    let stride = |b: &mut common::Builder| {
        let mut p: ConvParams = *bytemuck::from_bytes(&b.steps[2].params[..size_of::<ConvParams>()]);
        p.window.stride = [1, 2];
        b.steps[2].params[..size_of::<ConvParams>()].copy_from_slice(bytemuck::bytes_of(&p));
    };
    assert_eq!(refusal(&stride), Some(K::Pipeline));
}

/// What is refused of a second plan, and the plan that is blamed.
#[test]
fn further_plans_that_are_refused_and_why() {
    use FormatErrorKind as K;
    let whole = two_plans().0;
    let table = |file: &[u8]| -> Vec<Section> { bytemuck::cast_slice(&file[64..][..file[48] as usize * 32]).to_vec() };
    let at = |kind: u32| table(&whole).iter().position(|s| s.kind == kind && s.plan == 1).unwrap();
    let refusal = |change: &dyn Fn(&mut [u8])| {
        let mut v = Victim::of(&whole);
        change(&mut v.file);
        v.fix_hash();
        Model::from_bytes(&v.file).err().map(|e| match e {
            LoadError::Format(e) => (e.kind(), e.plan()),
            e => panic!("{e}"),
        })
    };
    let entry = |kind, change: fn(&mut Section)| {
        refusal(&|file: &mut [u8]| {
            let section = &mut file[64 + at(kind) * 32..][..32];
            change(bytemuck::from_bytes_mut(section));
        })
    };
    assert_eq!(refusal(&|_| ()), None);
    // A plan is whole, numbered without a gap, below the largest number; a section of it occurs once.
    for kind in [section::PLAN, section::TENSORS, section::STEPS, section::IO] {
        assert_eq!(entry(kind, |s| s.kind = 900), Some((K::Section, 0)));
        assert_eq!(entry(kind, |s| s.plan = 2), Some((K::Section, 0)));
        assert_eq!(entry(kind, |s| s.plan = u32::MAX), Some((K::Section, 0)));
    }
    assert_eq!(entry(section::PIPELINES, |s| s.kind = section::STEPS), Some((K::Section, 0)));
    assert_eq!(entry(section::PLAN, |s| s.len -= 64), Some((K::Plan, 1)));
    // Its tensors lie in scratch by rows, which no plan without pipelines has.
    assert_eq!(entry(section::PIPELINES, |s| s.kind = 900), Some((K::Step, 1)));
    // What all plans share is nothing to a further one.
    assert_eq!(entry(section::PIPELINES, |s| (s.kind, s.flags) = (section::WEIGHTS, 1)), Some((K::UnknownSection, 0)));
    // Records are held against the sizes of their own plan.
    let plan = |change: fn(&mut Plan)| {
        refusal(&|file: &mut [u8]| {
            let s = table(&whole)[at(section::PLAN)];
            change(bytemuck::from_bytes_mut(&mut file[s.offset as usize..][..s.len as usize]));
        })
    };
    assert_eq!(plan(|p| p.tensor_bytes += 1), Some((K::Plan, 1)));
    assert_eq!(plan(|p| p.tensor_bytes = 0), Some((K::Tensor, 1)));
    assert_eq!(plan(|p| p.scratch_bytes -= 64), Some((K::Step, 1)));
    assert_eq!(plan(|p| p.tensor_bytes = 1 << 50), Some((K::Excess, 1)));
    // All plans together have no more inputs and outputs than one may.
    let many = |plans: usize| {
        let b = |i| {
            let mut b = streamed_builder([2, 3]);
            let output = b.io[2].tensor;
            (0..60 * i).for_each(|_| b.io(role::OUTPUT, output, "", &[2, 8, 6, 48]));
            b
        };
        let all: Vec<common::Builder> = (0..plans).map(b).collect();
        Model::from_owned(AlignedBytes::copy(&common::Builder::file_of(&all.iter().collect::<Vec<_>>())).unwrap()).is_ok()
    };
    assert!(many(3) && !many(4));
}

#[test]
fn outputs_of_another_batch_or_channel_count_are_refused() {
    let steps = all_ops_builder().steps;
    // A copy fits any target that is large enough.
    for (s, _) in steps.iter().enumerate().filter(|(_, step)| step.op != sepal_format::op::Op::Copy as u32) {
        // A channel more may fit the same blocks of weights; sixteen do not.
        for (dim, more) in [(0, 1), (3, 16)] {
            let got = refusal(|b| {
                let mut wrong = b.tensors[b.steps[s].output as usize];
                wrong.dims[dim] += more;
                wrong.pixel = wrong.pixel.max(wrong.dims[3].next_multiple_of(16));
                wrong.offset = b.tensor_bytes;
                b.tensor_bytes += 1 << 16;
                b.tensors.push(wrong);
                b.steps[s].output = b.tensors.len() as u32 - 1;
                b.steps[s].flags = 0;
            });
            assert_eq!(got, Some(FormatErrorKind::Step), "step {s}, dimension {dim}");
        }
    }
}

/// Files that fuzzing found, each of which once loaded and broke a promise.
#[test]
fn what_was_found_stays_refused() {
    // A copy of lanes behind the channels, which every instruction set leaves with something else.
    let bytes = include_bytes!("data/found/copy-of-lanes.sepal");
    let bytes = AlignedBytes::copy(bytes).unwrap();
    let why = Model::from_bytes(&bytes).unwrap_err().to_string();
    assert!(why.contains("(step 34)"), "{why}");
}
