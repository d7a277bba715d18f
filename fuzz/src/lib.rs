//! What the fuzz targets share: the promises that every input is held to, and mutations that know the formats and get past checksums.
//!
//! Promises are checked by `assert!`; AddressSanitizer watches memory, libFuzzer what never ends.

use rustix::time::{ClockId, clock_gettime};
use sepal::{AlignedBytes, Isa, LoadError, Model, Options, Session};
use sepal_converter::convert::{ConvertOptions, convert_bytes};
use sepal_converter::import;
use sepal_format::ModelView;
use sepal_format::layout::BLOCK;
use sepal_format::op::OpRef;
use sepal_format::record::{NONE, Step, Tensor, place};

mod attributes;
mod file;
mod members;
mod random;
mod tables;
mod wire;
pub use attributes::mutate as mutate_attributes;
pub use file::mutate as mutate_file;
pub use members::{mutate as mutate_members, zip};
pub use tables::mutate as mutate_tables;
pub use wire::mutate as mutate_wire;

#[global_allocator]
static HEAP: sepal_heap::Counting = sepal_heap::Counting;

/// Most bytes of an arena that is run.
const MOST_ARENA: usize = 16 << 20;
/// Most work that is run: well below a second, sanitised and for each instruction set.
const MOST_WORK: u64 = 1 << 25;

/// Seconds that one input may take the processor, sanitised. Not of the clock: CI builds and tests at the same time, before all else.
const MOST_SECONDS: i64 = 20;

/// Calls `body` with one input; panics if that takes longer than any input may.
pub fn target(body: impl FnOnce()) {
    let before = clock_gettime(ClockId::ProcessCPUTime).tv_sec;
    body();
    let seconds = clock_gettime(ClockId::ProcessCPUTime).tv_sec - before;
    assert!(seconds <= MOST_SECONDS, "{seconds} s of the processor");
}

/// Calls `body`; panics if it ever holds more than so many bytes of the heap.
fn within<T>(most: usize, body: impl FnOnce() -> T) -> T {
    let before = sepal_heap::restart_peak();
    let result = body();
    let used = sepal_heap::peak().saturating_sub(before);
    assert!(used <= most, "{used} bytes of the heap, {most} are promised");
    result
}

/// A model is refused or loaded without any of the heap.
pub fn parse(bytes: &[u8]) -> Option<(AlignedBytes, bool)> {
    let aligned = AlignedBytes::copy(bytes)?;
    let sound = within(0, || match Model::from_bytes(&aligned) {
        Ok(model) => {
            let _ = model.view().verify_weights();
            for plan in model.plans() {
                for port in plan.inputs().chain(plan.outputs()) {
                    assert!(port.dims.len() <= 8 && port.name.len() <= bytes.len());
                }
            }
            true
        }
        Err(LoadError::Format(_)) => false,
        Err(e) => panic!("{e}"),
    });
    Some((aligned, sound))
}

/// What loads runs, within its arena and to the same bits on every instruction set and with every number of threads.
pub fn run(bytes: &[u8]) {
    let Some((aligned, true)) = parse(bytes) else { return };
    let model = Model::from_bytes(&aligned).expect("loaded before");
    model.plans().for_each(run_plan);
}

fn run_plan(model: Model<'_>) {
    if model.arena_bytes(2) > MOST_ARENA || model.view().work() > MOST_WORK {
        return;
    }
    let known = has_no_padding(&model) || reads_what_was_written(&model);
    let mut want = Vec::new();
    for isa in Isa::available() {
        let model = model.clone().with_isa(isa);
        for threads in [1, 2] {
            let got = outputs(&model, threads);
            if want.is_empty() {
                want = got;
            } else if known {
                assert!(want == got, "{} with {threads} threads gives other bits", isa.name());
            }
        }
    }
}

/// Whether no step writes lanes behind a last channel.
fn has_no_padding(model: &Model<'_>) -> bool {
    let view = model.view();
    let whole = |t: &Tensor| t.dims[3].is_multiple_of(BLOCK as u32) || !t.pixel.is_multiple_of(BLOCK as u32);
    view.steps().iter().all(|s| view.tensors().get(s.output as usize).is_some_and(whole))
}

/// Whether each tensor that is read is an input or all of what a step writes. Other views, and what copies reach in part, may show
/// lanes behind the last channel, which have no value that is promised.
fn reads_what_was_written(model: &Model<'_>) -> bool {
    let view = model.view();
    let made = |t: u32| {
        view.tensors().get(t as usize).is_some_and(|x| x.place == place::WEIGHTS)
            || view.inputs().iter().any(|io| io.tensor == t)
            || view.steps().iter().any(|s| s.output == t && covers(&view, s))
    };
    let outputs = view.outputs().iter().map(|io| io.tensor);
    view.steps().iter().flat_map(|s| s.inputs).filter(|&t| t != NONE).chain(outputs).all(made)
}

fn covers(view: &ModelView<'_>, step: &Step) -> bool {
    let Some(OpRef::Copy(p)) = step.op_ref() else { return true };
    let elements = |dims: &[u32]| dims.iter().map(|&d| u128::from(d)).product::<u128>();
    view.tensors().get(step.output as usize).is_some_and(|y| elements(&p.dims) >= elements(&y.dims))
}

fn outputs(model: &Model<'_>, threads: usize) -> Vec<Vec<u32>> {
    // One thread gets an arena of the heap, where AddressSanitizer sees what is touched behind it.
    let mut arena = AlignedBytes::zeroed(model.arena_bytes(1)).expect("memory");
    let session = match threads {
        1 => Session::in_arena(model, &mut arena),
        _ => Session::new(model, Options { threads }),
    };
    let mut session = session.expect("a loaded model gives a session");
    for i in 0..model.inputs().len() {
        session.input_mut(i).expect("every input has memory").fill(0.5);
    }
    session.run();
    let bits = |i| session.output(i).expect("every output has memory").iter().map(|v| canonical(*v)).collect();
    (0..model.outputs().len()).map(bits).collect()
}

/// The bits of a number; the same ones for every NaN.
fn canonical(v: f32) -> u32 {
    if v.is_nan() { f32::NAN.to_bits() } else { v.to_bits() }
}

/// A source is refused or read; what is read converts to a model that loads and runs, or is refused.
pub fn source(name: &str, bytes: &[u8]) {
    let most = import::HEAP_BYTES + import::HEAP_RATIO * bytes.len();
    let sound = within(most, || match import::import_bytes(bytes, None, &import::Options::default()) {
        Ok(_) => true,
        Err(e) => {
            assert!(!e.to_string().is_empty());
            false
        }
    });
    if sound {
        let options = ConvertOptions { no_verify: true, ..ConvertOptions::default() };
        if let Ok(converted) = within(2 * most, || convert_bytes(name, bytes, &options, &mut ())) {
            Model::from_bytes(converted.bytes()).expect("what is written loads");
            run(converted.bytes());
        }
    }
}
