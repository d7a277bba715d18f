//! Hand-made models against plain loops, on every instruction set and with several threads, to the bit.

mod common;

use common::missed::{From, OPERATORS, PLANES, missed};
use common::{
    Builder, all_ops, all_ops_builder, all_ops_in, all_ops_of, fast::fast, fast::one_winograd, one_depthwise, streamed_of,
    two_plans, window,
};
use sepal::{AlignedBytes, Isa, Layout, LoadError, Model, Options, Session, SessionError};
use sepal_format::op::Op;
use sepal_format::record::*;

fn bits(v: &[f32]) -> Vec<u32> {
    v.iter().map(|x| x.to_bits()).collect()
}

fn load(file: &[u8]) -> Model<'static> {
    Model::from_owned(AlignedBytes::copy(file).unwrap()).unwrap()
}

fn set(session: &mut Session, inputs: &[Vec<f32>]) {
    for (i, values) in inputs.iter().enumerate() {
        session.input_mut(i).unwrap().copy_from_slice(values);
    }
}

#[test]
fn every_operator_is_tested() {
    let b = all_ops_builder();
    for op in Op::ALL {
        assert!(b.steps.iter().any(|s| s.op == *op as u32), "{} is missing", op.name());
    }
}

/// The Cargo features of the crate that are about networks are those that models can name, and a model names what it has.
#[test]
fn features_are_what_models_need() {
    let manifest = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")).unwrap();
    let (_, list) = manifest.split_once("\noperators = [").unwrap();
    let declared: Vec<&str> = list.split(']').next().unwrap().split('"').skip(1).step_by(2).collect();
    let file = all_ops_of(true).0;
    let every = load(&file);
    let streamed = streamed_of([2, 2], false).0;
    let streamed = load(&streamed);
    let fast = fast().0;
    let fast = load(&fast);
    for name in &declared {
        let known = [&every, &streamed, &fast].iter().any(|model| model.features().any(|feature| feature == *name));
        assert!(known, "{name} is not needed by the models of the tests");
    }
    assert!(every.features().all(|name| declared.contains(&name)));
    // What has code of its own, and no more: a window that runs the common code asks for none.
    for (kernel, stride, dilation, pre_relu, want) in [
        (5, 1, 1, false, Some("depthwise-5x5")),
        (5, 2, 1, false, Some("depthwise-5x5")),
        (5, 3, 1, false, None),
        (5, 1, 2, false, None),
        (5, 1, 1, true, None),
        (3, 1, 1, true, Some("depthwise-relu")),
        (3, 2, 1, true, None),
        (3, 2, 1, false, Some("depthwise-stride2")),
        (3, 2, 2, false, None),
        (3, 3, 1, false, None),
        (3, 1, 2, true, None),
        (3, 1, 1, false, None),
        (7, 1, 1, false, None),
    ] {
        for both in [false, true] {
            let file = one_depthwise(window([kernel; 2], stride, dilation, dilation * (kernel / 2)), pre_relu, both);
            let model = load(&file);
            let named: Vec<&str> = model.features().filter(|name| name.starts_with("depthwise-")).collect();
            assert_eq!(named, want.as_slice(), "{kernel} {stride} {dilation} {pre_relu} {both}");
        }
    }
    for (kernel, tile) in sepal_format::winograd::TILES {
        let file = one_winograd(kernel.map(|n| n as usize), tile.map(|n| n as usize));
        let model = load(&file);
        let named: Vec<&str> = model.features().collect();
        let want: &[&str] = if kernel == [3, 3] { &["winograd"] } else { &["winograd", "winograd-1d"] };
        assert_eq!(named, want, "{kernel:?} {tile:?}");
    }
    let f32 = load(&all_ops().0);
    assert!(!f32.features().any(|name| name == "f16" || name == "pipelines"));
}

#[test]
fn same_bits_on_every_isa_and_with_any_threads() {
    same_bits(all_ops());
    same_bits(all_ops_of(true));
    same_bits(fast());
}

fn same_bits((file, inputs, want): (Vec<u8>, Vec<Vec<f32>>, Vec<Vec<f32>>)) {
    for isa in Isa::available() {
        let model = load(&file).with_isa(isa);
        assert_eq!(model.isa().name(), isa.name());
        for threads in [1, 2, 4] {
            let mut session = Session::new(&model, Options { threads }).unwrap();
            for round in 0..3 {
                set(&mut session, &inputs);
                session.run();
                for (i, want) in want.iter().enumerate() {
                    let got = session.output(i).unwrap();
                    assert!(want.iter().all(|v| v.is_finite()) && want.iter().any(|v| *v != want[0]), "output {i} says nothing");
                    assert_eq!(bits(got), bits(want), "output {i} on {} with {threads} threads, run {round}", isa.name());
                }
            }
        }
    }
}

#[test]
fn each_plan_of_a_file_runs() {
    let (file, cases) = two_plans();
    same_bits((file.clone(), cases[0].0.clone(), cases[0].1.clone()));
    let model = load(&file);
    assert_eq!((model.plans().len(), model.plan_number()), (2, 0));
    assert!(model.plan(2).is_none());
    assert!(model.plan(1).unwrap().arena_bytes(1) < model.arena_bytes(1));
    // Each by the shapes of its inputs, from whichever plan one asks.
    for (i, (inputs, want)) in cases.iter().enumerate() {
        let batch = 2 - i as u32;
        let asked = model.plan(1 - i).unwrap();
        let plan = asked.plan_for(&[&[batch, 3, 13, 10], &[batch, 32]]).unwrap();
        assert_eq!(plan.plan_number(), i);
        let mut arena = AlignedBytes::zeroed(plan.arena_bytes(1)).unwrap();
        for threads in [0, 1, 3] {
            let mut session = match threads {
                0 => Session::in_arena(&plan, &mut arena).unwrap(),
                threads => Session::new(&plan, Options { threads }).unwrap(),
            };
            set(&mut session, inputs);
            session.run();
            assert_eq!(bits(session.output(0).unwrap()), bits(&want[0]), "plan {i}, {threads} threads");
        }
    }
    assert!(model.plan_for(&[&[2, 3, 13, 10]]).is_none() && model.plan_for(&[&[3, 3, 13, 10], &[3, 32]]).is_none());
}

#[test]
fn pipelines_give_the_bits_of_single_steps() {
    for first in [1, 2, 3, 5, 7, 100] {
        for (second, halves) in [(1, true), (3, false), (8, true)] {
            let (file, inputs, want) = streamed_of([first, second], halves);
            let model = load(&file);
            assert_eq!(model.view().pipelines().len(), 2);
            for isa in Isa::available() {
                let model = model.clone().with_isa(isa);
                for threads in [1, 2, 3, 4, 16] {
                    let mut session = Session::new(&model, Options { threads }).unwrap();
                    for _ in 0..2 {
                        set(&mut session, &inputs);
                        session.run();
                        let got = session.output(0).unwrap();
                        assert!(want[0].iter().all(|v| v.is_finite()));
                        assert_eq!(bits(got), bits(&want[0]), "bands {first}, {second} on {} with {threads} threads", isa.name());
                    }
                }
            }
        }
    }
}

/// What such windows see has no rows, wherever these would be.
#[test]
fn windows_may_miss_their_input() {
    for operator in 0..OPERATORS.len() {
        for window in [[1, 1, 0], [3, 1, 0], [1, 3, 0], [3, 2, 7], [2, 5, 3]] {
            for from in [From::Arena, From::Rows, From::Weights] {
                if operator == PLANES && from != From::Arena {
                    continue;
                }
                let (b, floats) = missed(operator, from, window);
                let inputs = [common::Rng(91).values(floats)];
                let want = bits(&b.reference(&inputs)[0]);
                for isa in Isa::available() {
                    let model = load(&b.file()).with_isa(isa);
                    for threads in [1, 4] {
                        let mut session = Session::new(&model, Options { threads }).unwrap();
                        set(&mut session, &inputs);
                        session.run();
                        let got = bits(session.output(0).unwrap());
                        assert_eq!(got, want, "operator {operator}, {window:?} from {from:?} on {}", isa.name());
                    }
                }
            }
        }
    }
}

#[test]
fn steps_of_a_pipeline_are_reported_each_time() {
    let (file, inputs, _) = streamed_of([2, 3], false);
    let model = load(&file);
    for (threads, times) in [(1, [8, 6]), (2, [1, 1])] {
        let mut session = Session::new(&model, Options { threads }).unwrap();
        set(&mut session, &inputs);
        let mut seen = [0; 12];
        session.run_profiled(&mut |i| seen[i] += 1);
        // Two images of seven rows, two at a time, and of eight, three at a time.
        assert_eq!([seen[6], seen[11]], times);
        assert!(seen.iter().all(|&n| n > 0) == (threads == 1), "{seen:?}");
    }
}

#[test]
fn in_a_callers_arena() {
    let (file, inputs, want) = all_ops();
    let model = load(&file);
    let need = model.arena_bytes(1);
    let mut arena = AlignedBytes::zeroed(need).unwrap();
    arena.fill(0xff);
    {
        let mut session = Session::in_arena(&model, &mut arena).unwrap();
        assert!(session.output(0).unwrap().iter().all(|v| v.to_bits() == 0));
        set(&mut session, &inputs);
        session.run();
        assert_eq!(bits(session.output(0).unwrap()), bits(&want[0]));
        assert!(session.input_mut(2).is_none() && session.output(3).is_none());
        assert!(session.output(usize::MAX).is_none());
    }
    for wrong in [0, need - 64, need - 1, need + 1, need + 64] {
        let mut arena = AlignedBytes::zeroed(wrong).unwrap();
        let error = Session::in_arena(&model, &mut arena).unwrap_err();
        assert!(matches!(error, SessionError::ArenaLength { need: n, got } if n == need && got == wrong), "{error}");
    }
    let mut arena = AlignedBytes::zeroed(need + 4).unwrap();
    let error = Session::in_arena(&model, &mut arena[4..]).unwrap_err();
    assert!(matches!(error, SessionError::ArenaAlignment));
}

#[test]
fn arenas_are_as_large_as_the_plan_says() {
    let b = all_ops_builder();
    let model = load(&b.file());
    for threads in [1, 2, 64] {
        assert_eq!(model.arena_bytes(threads) as u64, b.tensor_bytes + b.scratch_bytes * threads as u64);
    }
    assert!(b.scratch_bytes > 0);
}

#[test]
fn interface() {
    let mut b = all_ops_builder();
    b.io[0].layout = 1;
    let model = load(&b.file());
    let inputs: Vec<_> = model.inputs().collect();
    assert_eq!((inputs[0].name, inputs[0].dims, inputs[0].layout), ("image", &[1, 9, 8, 3][..], Layout::Nhwc));
    assert_eq!((inputs[1].name, inputs[1].dims, inputs[1].layout), ("vector", &[20][..], Layout::Unknown));
    assert_eq!(model.outputs().map(|o| o.name).collect::<Vec<_>>(), ["scores", "classes", "gated"]);
    assert_eq!(model.view().step_name(&model.view().steps()[0]), "conv");
    assert_eq!(model.view().section(section::PROVENANCE), Some(&b"{}"[..]));
    fn shared<T: Send + Sync>(_: &T) {}
    fn sent<T: Send>(_: &T) {}
    shared(&model);
    sent(&Session::new(&model, Options::default()).unwrap());
}

#[test]
fn steps_are_reported_in_order() {
    let (file, inputs, want) = all_ops();
    let model = load(&file);
    let mut session = Session::new(&model, Options::default()).unwrap();
    set(&mut session, &inputs);
    let mut seen = Vec::new();
    session.run_profiled(&mut |step| seen.push(step));
    assert_eq!(seen, (0..model.view().steps().len()).collect::<Vec<_>>());
    assert_eq!(bits(session.output(1).unwrap()), bits(&want[1]));
}

#[test]
fn refused_sessions() {
    let model = load(&all_ops_builder().file());
    for threads in [0, 65] {
        assert!(matches!(Session::new(&model, Options { threads }), Err(SessionError::Threads { most: 64, .. })));
    }
    // More memory than any machine has is refused before a session is made. (What a machine does not have: see `allocations.rs`.)
    let mut b = all_ops_builder();
    b.tensor_bytes = 1 << 61;
    let bytes = AlignedBytes::copy(&b.file()).unwrap();
    let Err(LoadError::Format(error)) = Model::from_bytes(&bytes) else { panic!("accepted") };
    assert_eq!(error.kind(), sepal::FormatErrorKind::Excess);
}

#[test]
fn too_little_scratch_is_refused() {
    for mut b in [all_ops_builder(), all_ops_in(true)] {
        b.scratch_bytes -= 64;
        let bytes = AlignedBytes::copy(&b.file()).unwrap();
        let Err(LoadError::Format(error)) = Model::from_bytes(&bytes) else { panic!("accepted") };
        assert_eq!(error.kind(), sepal::FormatErrorKind::Step);
    }
}

#[test]
fn files() {
    let (file, inputs, want) = all_ops();
    let path = std::env::temp_dir().join(format!("sepal-run-test-{}.sepal", std::process::id()));
    std::fs::write(&path, &file).unwrap();
    let model = Model::open_verified(&path).unwrap();
    let mut session = Session::new(&model, Options::default()).unwrap();
    set(&mut session, &inputs);
    session.run();
    assert_eq!(bits(session.output(0).unwrap()), bits(&want[0]));
    assert_eq!(&*AlignedBytes::read(&path).unwrap(), &file[..]);
    // A damaged weight is found by whoever asks.
    let mut damaged = file.clone();
    *damaged.last_mut().unwrap() ^= 1;
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, &damaged).unwrap();
    assert!(Model::open(&path).is_ok());
    assert!(matches!(Model::open_verified(&path), Err(LoadError::Format(e)) if e.kind() == sepal::FormatErrorKind::WeightsHash));
    std::fs::write(&path, []).unwrap();
    assert!(Model::open(&path).is_err());
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(Model::open(&path), Err(LoadError::Io(_))));
}

#[test]
fn a_network_of_nothing_is_none() {
    let file = AlignedBytes::copy(&Builder::default().file()).unwrap();
    assert!(matches!(Model::from_bytes(&file), Err(LoadError::Format(e)) if e.kind() == sepal_format::FormatErrorKind::Io));
}

#[test]
fn the_verifier_and_the_kernels_agree_on_spans() {
    for shape in [[1, 1, 1, 1], [1, 1, 1, 17], [2, 3, 4, 5], [1, 7, 7, 32], [3, 1, 1, 16]] {
        for gap in 0..33 {
            let [n, h, w, c] = shape;
            let pixel = c + gap;
            let kernels = sepal_kernels::view::span(sepal_kernels::Shape::new(n, h, w, c), pixel);
            let format = sepal_format::layout::span((n * h * w) as u64, c as u64, pixel as u64);
            assert_eq!(format, Some(kernels as u64), "{shape:?} {pixel}");
        }
    }
    assert_eq!(sepal_format::layout::span(u64::MAX, 1, 2), None);
}

#[test]
fn a_large_plan_is_verified() {
    let mut b = Builder::default();
    let act = ActivationParams { act: sepal_format::Act::RELU.record(), reserved: 0 };
    // A quarter of the largest one: verification that took more than the square of it would not end.
    let steps = sepal_format::limits::STEPS as u32 / 4;
    // A chain whose tensors all stay alive.
    for i in 0..=steps {
        b.tensor(1, 1, 1, 1);
        b.tensors[i as usize].first = i.saturating_sub(1);
        b.tensors[i as usize].last = steps;
    }
    b.io(role::INPUT, 0, "x", &[]);
    b.io(role::OUTPUT, steps, "y", &[]);
    for i in 0..steps {
        b.step(&act, &[i], i + 1, |_| ());
    }
    let file = AlignedBytes::copy(&b.file()).unwrap();
    Model::from_bytes(&file).unwrap();
}
