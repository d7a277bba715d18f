//! Small models, one per operator, option or encoding, against TFLite; `converter/tests/python/make_tflite_cases.py` makes them.

use crate::error::Error;
use crate::import::{Options, tflite};

#[test]
fn cases_compute_what_tflite_computes() {
    let models = super::models(&super::data());
    assert!(models.len() > 25);
    let failures: Vec<String> =
        models.iter().filter_map(|p| super::compare(p, 2e-6).err().map(|e| format!("{}: {e}", p.display()))).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(super::data().join(name)).unwrap()
}

#[test]
fn everything_that_is_not_supported_is_listed() {
    let e = tflite::import(&bytes("refused/unsupported.tflite"), &Options::default()).unwrap_err();
    let Error::Unsupported(all) = &e else { panic!("{e}") };
    let lines: Vec<String> = all.iter().map(ToString::to_string).collect();
    let cut = "make the model without it, or cut the network before it with --outputs";
    assert_eq!(
        lines,
        [
            &format!("operator 0, t1 (MATRIX_DIAG, builtin 113): the operator is not supported; {cut}"),
            &format!("operator 1, t3 (SEGMENT_SUM, builtin 125): the operator is not supported; {cut}"),
            "operator 2, t5 (ARG_MAX, builtin 56): the operator is not supported; cut the network before it with --outputs and choose \
             among its outputs in the application",
        ]
    );
}

#[test]
fn a_quantised_network_is_refused_in_one_word() {
    let e = tflite::import(&bytes("refused/quantised.tflite"), &Options::default()).unwrap_err();
    let Error::Unsupported(all) = &e else { panic!("{e}") };
    let [one] = &all[..] else { panic!("{e}") };
    assert_eq!((one.node.as_str(), one.kind.as_str()), ("the network", "TFLite"));
    assert_eq!(one.what, "the network is quantised: 2 of 2 operators give int8");
    assert!(one.remedy.contains("float32 network"), "{one}");
}

#[test]
fn integers_divided_by_zero_are_refused() {
    let e = tflite::import(&bytes("refused/divided_by_zero.tflite"), &Options::default()).unwrap_err();
    assert!(matches!(&e, Error::Invalid(m) if m.contains("DIV, builtin 42") && m.contains("division by 0")), "{e}");
}

#[test]
fn a_network_is_chosen_by_its_signature() {
    let two = bytes("signatures/two.tflite");
    let of = |name: Option<&str>| tflite::import(&two, &Options { signature: name.map(str::to_owned), ..Options::default() });
    let kind = |name| of(name).unwrap().nodes[0].kind.clone();
    assert_eq!((kind(None), kind(Some("rectify")), kind(Some("squash"))), ("RELU".into(), "RELU".into(), "TANH".into()));
    // Whoever does not choose is told.
    let first = of(None).unwrap();
    assert!(matches!(&first.notes[..], [note] if note.contains("signatures rectify, squash")), "{:?}", first.notes);
    assert!(of(Some("squash")).unwrap().notes.is_empty());
    let e = of(Some("classify")).unwrap_err();
    assert!(matches!(&e, Error::Request(m) if m.contains("classify") && m.contains("rectify, squash")), "{e}");
    let one = crate::import::import_bytes(
        &bytes("small_net.tflite"),
        None,
        &Options { signature: Some("a".into()), ..Options::default() },
    );
    assert!(matches!(&one, Err(Error::Request(m)) if m.contains("has none")), "{one:?}");
}

/// Files that once brought a panic, a wrong number or a wrong word; kept as they were found.
#[test]
fn what_was_found_stays_mended() {
    let read = |name: &str| {
        let path = super::data().join("../tflite_found").join(name).with_extension("tflite");
        tflite::import(&std::fs::read(&path).unwrap(), &Options::default())
    };
    let refuse = |name: &str| read(name).unwrap_err();
    // 5, 0 and -2 as truth values, which are added.
    let y = crate::interp::interpret(&read("castbool").unwrap(), &[vec![0.0; 3]], &mut |_, _| {}).unwrap();
    assert_eq!(y, [[1.0, 0.0, 1.0]]);
    for (name, word) in [
        ("empty_conv", "an image of shape [1, 4, 4, 0]"),
        ("empty_dw", "an image of shape [1, 4, 4, 0]"),
        ("embedding_of_nothing", "a single number is no table"),
        ("ss_shrink_outside", "index 2 of 1"),
        ("tcb_padding", "options that are no padding and two strides"),
        ("tcb_stride", "a stride of 0"),
        // A large constant that is looked at, or sorted, again and again.
        ("many_arg_max", "multiply beyond all measure"),
        ("many_top", "multiply beyond all measure"),
    ] {
        let e = refuse(name);
        assert!(matches!(&e, Error::Invalid(m) if m.contains(word)), "{name}: {e}");
    }
    for (name, word) in [
        ("bigint", "integers that are rounded"),
        ("ss_shrinkmask", "begin_mask and shrink_axis_mask for one axis"),
        ("ss_off_clamp", "a beginning at -9 of 6"),
        ("ss_off_back2", "an end at -1 of 6"),
        ("ss_ell0", "an ellipsis that stands for no axis"),
        ("ss_off_ell_last", "an ellipsis and ends that count from the beginnings"),
        ("ss_off_end_mask", "an end that counts from the beginning and end_mask for one axis"),
        ("tcb_odd", "SAME for 3 pixels, a stride of 2 and a kernel of 3"),
        ("tc_odd", "7 pixels with a stride of 2 from 2 pixels"),
        ("tc_short", "4 pixels with a stride of 1 from 4 pixels"),
    ] {
        let e = refuse(name);
        assert!(matches!(&e, Error::Unsupported(all) if all[0].what.contains(word)), "{name}: {e}");
    }
}

/// MediaPipe's transposed convolution, weights 1, 2, 3, ..., a bias of 10, against its definition.
#[test]
fn mediapipes_transposed_convolution_is_known() {
    for (name, [h, w], k, [rows, columns]) in [("tcb_same", [2, 4], 2, [4, 8]), ("tcb_valid", [2, 2], 3, [5, 5])] {
        let path = super::data().join("../tflite_found").join(name).with_extension("tflite");
        let graph = tflite::import(&std::fs::read(&path).unwrap(), &Options::default()).unwrap();
        assert_eq!(graph.shape(graph.outputs[0]), [1, rows, columns, 1], "{name}");
        let x: Vec<f64> = (0..h * w * 2).map(|i| f64::from(i as u8) - 3.0).collect();
        let mut want = vec![10.0; rows * columns];
        for (i, &v) in x.iter().enumerate() {
            let (y, x, c) = (i / 2 / w, i / 2 % w, i % 2);
            for (ky, kx) in (0..k * k).map(|t| (t / k, t % k)) {
                want[(2 * y + ky) * columns + 2 * x + kx] += v * ((ky * k + kx) * 2 + c + 1) as f64;
            }
        }
        assert_eq!(crate::interp::interpret(&graph, &[x], &mut |_, _| {}).unwrap(), [want], "{name}");
    }
}

#[test]
fn small_files_cannot_ask_for_much() {
    let e = tflite::import(&bytes("refused/swollen.tflite"), &Options::default()).unwrap_err();
    assert!(matches!(&e, Error::Invalid(m) if m.contains("multiply beyond all measure")), "{e}");
    let e = tflite::import(&bytes("refused/laborious.tflite"), &Options::default()).unwrap_err();
    assert!(matches!(&e, Error::Unsupported(all) if all[0].what.contains("much is to be computed")), "{e}");
}

#[test]
fn outputs_and_shapes_may_be_chosen() {
    let small = bytes("small_net.tflite");
    let whole = tflite::import(&small, &Options::default()).unwrap();
    let inner = &whole.nodes[0].name;
    let options =
        Options { outputs: vec![inner.clone()], input_shapes: vec![(String::new(), vec![2, 9, 20, 3])], ..Options::default() };
    let g = tflite::import(&small, &options).unwrap();
    g.verify().unwrap();
    assert_eq!((g.nodes.len(), g.shape(g.outputs[0])), (1, &[2, 5, 10, 8][..]));
    assert_eq!(g.output_names, [inner.as_str()]);
    let refused = |options: Options| tflite::import(&small, &options).unwrap_err().to_string();
    let named = |name: &str, shape: &[usize]| Options { input_shapes: vec![(name.into(), shape.into())], ..Options::default() };
    assert!(refused(named("image", &[1, 9, 9, 3])).contains("the inputs are x0"));
    assert!(refused(named("x0", &[1, 9, 9])).contains("4 axes"));
    assert!(refused(named("x0", &[1, 9, 9, 4])).contains("do not fit 4"), "{}", refused(named("x0", &[1, 9, 9, 4])));
    assert!(refused(Options { outputs: vec!["no".into()], ..Options::default() }).contains("no tensor named"));
}

#[test]
fn blocks_of_one_element_are_nothing() {
    let g = tflite::import(&bytes("nothing_happens.tflite"), &Options::default()).unwrap();
    assert!(!g.nodes.iter().any(|n| n.kind.contains("BATCH")), "{:?}", g.nodes);
}

#[test]
fn parameters_count_once() {
    let count = |name: &str| tflite::import(&bytes(name), &Options::default()).unwrap().total_parameters;
    assert_eq!(count("fp16_weights.tflite"), 4 * 27 + 4);
    assert_eq!(count("sparse_weights.tflite"), 24 + 4);
    assert_eq!(count("shape_arithmetic.tflite"), 0);
}
