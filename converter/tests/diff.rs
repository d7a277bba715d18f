//! `sepal diff` and what convert tells, as scripts see them; and the comparison of a file's tensors with its source's.

mod common;
mod folder;

use common::Net;
use folder::Folder;
use sepal_converter::Error;
use sepal_converter::convert::{ConvertOptions, Progress, Stage, convert_graph};
use sepal_converter::diff::diff;
use sepal_converter::ir::{Act, BinaryOp, Graph, PoolKind};
use sepal_converter::{emit, import, passes};
use serde_json::Value;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

/// A block of all kinds: residuals, a concat that needs no copy, a pool, a mean; large enough for row pipelines.
fn net() -> Graph {
    let mut n = Net::new();
    let x = n.g.input("x", &[1, 24, 20, 3]);
    let a = n.conv(x, 16, [3, 3], [1, 1], [1, 1], [1; 4], 1);
    let a = n.batch_norm(a, 3);
    let a = n.act(a, Act::RELU);
    let b = n.conv(a, 16, [3, 3], [1, 1], [1, 1], [1; 4], 16);
    let b = n.conv(b, 16, [1, 1], [1, 1], [1, 1], [0; 4], 1);
    let b = n.batch_norm(b, 3);
    let c = n.binary(BinaryOp::Add, a, b, &[1, 24, 20, 16]);
    let d = n.conv(a, 32, [1, 1], [1, 1], [1, 1], [0; 4], 1);
    let e = n.node(sepal_converter::ir::Op::Concat { axis: 3 }, &[c, d], &[1, 24, 20, 48]);
    let f = n.pool(e, PoolKind::Max, [2, 2], [2, 2], [0; 4]);
    let y = n.conv(f, 10, [3, 3], [2, 2], [1, 1], [1; 4], 1);
    n.g.outputs = vec![y];
    n.g.output_names = vec!["y".into()];
    n.g.verify().unwrap();
    n.g
}

fn sample(g: &Graph) -> Vec<Vec<f32>> {
    let mut noise = common::Noise(3);
    g.inputs.iter().map(|&v| noise.many(g.shape(v).iter().product())).collect()
}

#[test]
fn every_tensor_is_close_and_a_changed_weight_is_found_where_it_is() {
    for streaming in [emit::Streaming::Always, emit::Streaming::Never] {
        for prune_dead in [None, Some(0.0)] {
            let g = net();
            let emit = emit::Options { streaming, ..emit::Options::default() };
            let passes = passes::Options { prune_dead, ..passes::Options::default() };
            let options = ConvertOptions { no_verify: true, emit, passes, ..ConvertOptions::default() };
            let converted = convert_graph(g.clone(), "n", "test", &options, &mut ()).unwrap();
            let model = sepal::Model::from_bytes(converted.bytes()).unwrap();
            let samples = [sample(&g), sample(&g)];
            let d = diff(&g, &model, &samples, 1e-5, &mut |_, _| ()).unwrap();
            assert!(!d.diverges(), "{:?}", d.first_diverging());
            assert!(d.layers.len() >= 6, "{}", d.layers.len());
            assert!(d.layers.iter().all(|l| l.stats.cosine() > 0.999_999 && l.stats.elements > 0));
            // The batch norm and the activation behind the first convolution end in its step.
            assert!(d.layers.iter().any(|l| l.inside.len() >= 2));

            // The third convolution of the source is the pointwise one.
            let mut other = g.clone();
            let convs: Vec<usize> =
                (0..g.nodes.len()).filter(|&i| matches!(g.nodes[i].op, sepal_converter::ir::Op::Conv { .. })).collect();
            let w = g.nodes[convs[2]].inputs[1];
            let mut data = (**g.data(w).unwrap()).clone();
            data[5] += 0.5;
            other.values[w.0].data = Some(Arc::new(data));
            let d = diff(&other, &model, &samples, 1e-5, &mut |_, _| ()).unwrap();
            let first = d.first_diverging().expect("it diverges");
            let place = d.layers.iter().position(|l| l.name == first.name).unwrap();
            assert!(d.layers[..place].iter().all(|l| l.stats.relative() < 1e-5));
            assert!(
                first.inside.iter().any(|n| n.contains(&g.nodes[convs[2]].name)) || first.name == g.nodes[convs[2]].name,
                "{first:?}"
            );
        }
    }
}

/// Each of two arenas can be had, both cannot: that is known before a self-check of minutes, and before samples are looked at.
#[test]
fn a_file_and_its_steps_are_to_fit_in_memory_together() {
    struct Never;
    impl Progress for Never {
        fn stage(&mut self, stage: Stage) {
            assert_ne!(stage, Stage::SelfCheck);
        }
    }
    let mut n = Net::new();
    let x = n.g.input("x", &[1, 4352, 4096, 2]);
    let y = n.conv(x, 1, [1, 1], [1, 1], [1, 1], [0; 4], 1);
    n.g.outputs = vec![y];
    n.g.output_names = vec!["y".into()];
    let refused = |e: Error| assert!(matches!(&e, Error::TooLarge(what) if what.contains("of its steps one by one")), "{e}");
    let measured = ConvertOptions { measure_drift: true, ..ConvertOptions::default() };
    refused(convert_graph(n.g.clone(), "n", "test", &measured, &mut Never).unwrap_err());

    let unchecked = ConvertOptions { no_verify: true, ..measured };
    let converted = convert_graph(n.g.clone(), "n", "test", &unchecked, &mut ()).unwrap();
    let model = sepal::Model::from_bytes(converted.bytes()).unwrap();
    assert!(model.arena_bytes(1) < 2 << 30);
    refused(diff(&n.g, &model, &[], 1e-5, &mut |_, _| ()).unwrap_err());
}

/// Its input is turned first, by a step of its own, which computes nothing of the source.
#[test]
fn an_input_that_is_turned_is_no_layer() {
    let mut n = Net::new();
    let x = n.g.input("x", &[1, 5, 8, 9]);
    let a = n.act(x, Act::RELU);
    let a = n.node(sepal_converter::ir::Op::Transpose { perm: vec![0, 2, 3, 1] }, &[a], &[1, 8, 9, 5]);
    let y = n.conv(a, 7, [3, 3], [1, 1], [1, 1], [1; 4], 1);
    n.g.outputs = vec![y];
    n.g.output_names = vec!["y".into()];
    let g = n.g;
    let options = ConvertOptions { no_verify: true, ..ConvertOptions::default() };
    let converted = convert_graph(g.clone(), "n", "test", &options, &mut ()).unwrap();
    let model = sepal::Model::from_bytes(converted.bytes()).unwrap();
    let d = diff(&g, &model, &[sample(&g)], 1e-5, &mut |_, _| ()).unwrap();
    assert!(!d.diverges() && d.layers.iter().all(|l| l.name != "x"), "{:?}", d.layers);
    assert!(d.layers.iter().any(|l| l.name == g.values[y.0].name), "{:?}", d.layers);
}

#[test]
fn all_fixtures_agree_layer_by_layer() {
    for source in [
        sepal_fixtures::MINI_XCEPTION_KERAS,
        sepal_fixtures::MINI_XCEPTION_ONNX,
        sepal_fixtures::MINI_XCEPTION_NCHW_ONNX,
        sepal_fixtures::MINI_INCEPTION_H5,
    ] {
        let g = import::import_bytes(source, None, &import::Options::default()).unwrap();
        let options = ConvertOptions { no_verify: true, ..ConvertOptions::default() };
        let converted = convert_graph(g.clone(), "n", "test", &options, &mut ()).unwrap();
        let model = sepal::Model::from_bytes(converted.bytes()).unwrap();
        let d = diff(&g, &model, &[sample(&g)], 1e-4, &mut |_, _| ()).unwrap();
        assert!(!d.diverges(), "{:?}", d.first_diverging());
        // Every step leaves a tensor of the source, but for copies: those that put together a concatenation leave a part of it, until the
        // last one leaves the whole, and those at the border move axes or pad pixels.
        let view = model.view();
        for (i, step) in view.steps().iter().enumerate().filter(|(_, step)| step.op != sepal_format::op::Op::Copy as u32) {
            assert!(d.layers.iter().any(|l| l.step == i), "step {i}, {}, has no tensor of the source", view.step_name(step));
        }
        assert_eq!(d.outputs[0].agreement.as_ref().map(|a| (a.samples, a.top1)), Some((1, 1)));
    }
}

impl Folder {
    fn run(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sepal"));
        command.args(args).current_dir(&self.0).stdin(Stdio::null()).env_remove("SEPAL_ISA").output().unwrap()
    }

    fn ok(&self, args: &[&str]) -> String {
        let out = self.run(args);
        assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap()
    }
}

#[test]
fn the_command_compares_pictures_and_writes_a_page() {
    let f = Folder::new("command");
    std::fs::write(f.0.join("digits.keras"), sepal_fixtures::MINI_XCEPTION_KERAS).unwrap();
    std::fs::write(f.0.join("other.keras"), sepal_fixtures::MINI_INCEPTION_KERAS).unwrap();
    std::fs::create_dir(f.0.join("pictures")).unwrap();
    for d in sepal_fixtures::DIGITS {
        std::fs::write(f.0.join(format!("pictures/{}.png", d.label)), d.png).unwrap();
    }
    std::fs::write(f.0.join("labels.txt"), sepal_fixtures::LABELS.join("\n")).unwrap();
    f.ok(&["convert", "digits.keras", "--labels", "labels.txt", "--report", "report.html"]);
    let text = f.ok(&["diff", "digits.keras", "digits.sepal", "--input", "pictures", "--html", "diff.html"]);
    assert!(text.contains("top-1 10 of 10, top-5 10 of 10"), "{text}");
    for page in ["diff.html", "report.html"] {
        let page = std::fs::read_to_string(f.0.join(page)).unwrap();
        assert!(page.starts_with("<!doctype html>") && page.ends_with("</html>\n"));
        assert!(!page.contains("http") && !page.contains("<script") && !page.contains("src="), "it stands alone");
        assert!(page.contains("Memory over time") && page.contains("Steps and row pipelines") && page.contains("Batch norms"));
        // However many lanes the steps have, they shrink to the page: a picture without a box of its own is cut.
        let pictures: Vec<&str> = page.split("<svg ").skip(1).map(|svg| svg.split_once('>').unwrap().0).collect();
        assert!(pictures.len() > 2 && pictures.iter().all(|svg| svg.contains("viewBox=")), "{pictures:?}");
        let fits = |class: &str| page.contains(&format!("svg.{class} {{")) && pictures.iter().any(|svg| svg.contains(class));
        assert!(fits("fit") && fits("steps"), "{pictures:?}");
    }
    let json: Value = serde_json::from_str(&f.ok(&["diff", "digits.keras", "digits.sepal", "--json"])).unwrap();
    assert!(json["first_diverging"].is_null());
    assert!(json["layers"].as_array().unwrap().iter().all(|l| l["error"]["relative"].as_f64().unwrap() < 1e-4));
    assert_eq!(json["outputs"][0]["agreement"]["top1"], 1);
    // No error is small enough for this, and another network has other tensors.
    let out = f.run(&["diff", "digits.keras", "digits.sepal", "--threshold", "0"]);
    assert_eq!(out.status.code(), Some(3), "{}", String::from_utf8_lossy(&out.stderr));
    assert!(String::from_utf8_lossy(&out.stderr).contains("the first layer that diverges is"));
    assert_eq!(f.run(&["diff", "other.keras", "digits.sepal"]).status.code(), Some(2));
    // Labels are in the file.
    let seven = f.ok(&["run", "digits.sepal", "--input", "pictures/7.png"]);
    assert!(seven.lines().next().unwrap().trim_end().ends_with('7'), "{seven}");
    assert!(f.ok(&["info", "digits.sepal"]).contains("10, 0 to 9"));
}

#[test]
fn preprocessing_goes_into_the_file_and_into_the_first_convolution() {
    let f = Folder::new("pictures");
    std::fs::write(f.0.join("digits.keras"), sepal_fixtures::MINI_XCEPTION_KERAS).unwrap();
    std::fs::write(f.0.join("7.png"), sepal_fixtures::DIGITS[7].png).unwrap();
    // 0..255, from which the normalisation makes 0..1 again: the answer is the same, wherever it is done.
    let numbers = ["--levels", "255", "--mean", "0", "--std", "255"];
    f.ok(&[&["convert", "digits.keras", "-o", "out.sepal"], &numbers[..]].concat());
    let folded = f.ok(&[&["convert", "digits.keras", "-o", "in.sepal", "--fold-input"], &numbers[..]].concat());
    assert!(folded.contains("mean and deviation folded, forward into Conv2D 'block1_conv1'"), "{folded}");
    f.ok(&["convert", "digits.keras", "-o", "plain.sepal", "--no-verify"]);
    let answer = |model: &str| {
        f.ok(&["run", model, "--input", "7.png", "--output", "y.npz"]);
        let arrays = sepal_converter::data::npz::read_npz(&f.0.join("y.npz")).unwrap();
        arrays.values().next().unwrap().values.clone()
    };
    let want = answer("plain.sepal");
    for model in ["out.sepal", "in.sepal"] {
        let got = answer(model);
        assert!(got.iter().zip(&want).all(|(a, b)| (a - b).abs() < 1e-5), "{model}: {got:?} {want:?}");
    }
    let json: Value = serde_json::from_str(&f.ok(&["info", "in.sepal", "--json"])).unwrap();
    assert_eq!(json["preprocessing"]["level"], 255.0);
    assert_eq!(json["preprocessing"]["std"], serde_json::json!([1.0]));
    // The comparison knows what was put in front of the source.
    f.ok(&["diff", "digits.keras", "in.sepal", "--input", "7.png"]);
    assert_eq!(f.run(&["convert", "digits.keras", "-o", "x.sepal", "--mean", "1,2,3"]).status.code(), Some(1));
    assert_eq!(f.run(&["convert", "digits.keras", "-o", "x.sepal", "--mean", "1,2"]).status.code(), Some(1));
    assert_eq!(f.run(&["convert", "digits.keras", "-o", "x.sepal", "--fold-input"]).status.code(), Some(1));
}

#[test]
fn the_spectrum_is_measured() {
    let f = Folder::new("spectrum");
    let args = ["bench", "spectrum", "--channels", "32", "--size", "6", "--min-secs", "0.001", "--html", "s.html"];
    let json: Value = serde_json::from_str(&f.ok(&[&args[..], &["--json"]].concat())).unwrap();
    let blocks = json["blocks"].as_array().unwrap();
    let groups: Vec<u64> = blocks.iter().map(|b| b["groups"].as_u64().unwrap()).collect();
    assert_eq!(groups, [1, 2, 4, 8, 16, 32]);
    for b in blocks {
        let g = b["groups"].as_u64().unwrap();
        assert_eq!(b["macs"].as_u64().unwrap(), 36 * (9 * 32 * 32 / g + 32 * 32));
        assert_eq!(b["parameters"].as_u64().unwrap(), 9 * 32 * 32 / g + 32 * 32);
        assert!(b["min"].as_f64().unwrap() > 0.0);
    }
    assert!(std::fs::read_to_string(f.0.join("s.html")).unwrap().contains("From regular to depthwise"));
    assert!(f.ok(&args).contains("depthwise"));
}
