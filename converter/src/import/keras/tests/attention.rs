//! Layers that multiply tensors with each other, and layers with weights within others.

use super::{CALL, TWICE, built, golden, network};
use crate::Error;

#[test]
fn products_are_keras_own() {
    for version in ["k2.keras", "k2.h5", "k3.keras", "k3.h5"] {
        let graph = golden(&format!("attention.{version}"), &[]);
        assert_eq!((graph.trainable_parameters, graph.total_parameters), (1476, 1515), "{version}");
    }
}

#[test]
fn what_attention_does_besides_is_refused() {
    let of = |class: &str, config: &str, call: &str| match built(
        &network("float32", &[(class, &format!(r#", "trainable": true{config}"#), call)]),
        3,
    ) {
        Err(Error::Unsupported(all)) => all[0].what.clone(),
        other => panic!("{class} {config} {call}: {other:?}"),
    };
    let heads = r#", "num_heads": 2, "key_dim": 4"#;
    let twice = r#"{"args": [$, $], "kwargs": {}}"#;
    let multi = |more: &str| of(r#""MultiHeadAttention""#, &format!("{heads}{more}"), twice);
    assert_eq!(multi(r#", "use_gate": true"#), "use_gate = true");
    assert_eq!(multi(r#", "sliding_window": 3"#), "sliding_window = 3");
    assert_eq!(multi(r#", "output_shape": [2, 3]"#), "an output_shape of several axes");
    assert_eq!(multi(r#", "attention_axes": [2]"#), "attention_axes = [2] of 3 axes");
    let called = |kwargs: &str| of(r#""MultiHeadAttention""#, heads, &format!(r#"{{"args": [$, $], "kwargs": {{{kwargs}}}}}"#));
    assert_eq!(called(r#""use_causal_mask": true"#), "argument `use_causal_mask`");
    assert_eq!(called(r#""return_attention_scores": true"#), "argument `return_attention_scores`");
    assert_eq!(called(r#""attention_mask": $"#), "argument `attention_mask`");
    assert_eq!(of(r#""MultiHeadAttention""#, heads, r#"{"args": [$, $, $, $], "kwargs": {}}"#), "argument 4");
    assert_eq!(of(r#""Attention""#, r#", "score_mode": "concat""#, TWICE), "score_mode = concat");
    assert_eq!(
        of(r#""EinsumDense""#, r#", "equation": "abc,dc->abd", "output_shape": [null, 3]"#, CALL),
        r#"equation "abc,dc->abd""#
    );
    assert_eq!(
        of(r#""EinsumDense""#, r#", "equation": "abc,bcd->abd", "output_shape": [null, 3]"#, CALL),
        r#"equation "abc,bcd->abd""#
    );
}

#[test]
fn products_that_do_not_fit_are_refused() {
    for (class, config, call) in [
        (r#""Dot""#, r#", "axes": [1, 2]"#, TWICE),
        (r#""Dot""#, r#", "axes": 0"#, TWICE),
        (r#""Dot""#, r#", "axes": 3"#, TWICE),
        (r#""Dot""#, r#", "axes": [1]"#, TWICE),
        (r#""Dot""#, r#", "axes": 1"#, CALL),
        (r#""Attention""#, "", CALL),
        (r#""EinsumDense""#, r#", "equation": "ab,bc->ac", "output_shape": 3"#, CALL),
        (r#""EinsumDense""#, r#", "equation": "abc,cd->abd", "output_shape": [null, null]"#, CALL),
        (r#""EinsumDense""#, r#", "equation": "abc", "output_shape": 3"#, CALL),
        (r#""MultiHeadAttention""#, r#", "num_heads": 0, "key_dim": 4"#, r#"{"args": [$, $], "kwargs": {}}"#),
        (r#""MultiHeadAttention""#, r#", "num_heads": 2, "key_dim": 4"#, CALL),
    ] {
        let made = built(&network("float32", &[(class, &format!(r#", "trainable": true{config}"#), call)]), 3);
        assert!(matches!(made, Err(Error::Unsupported(_) | Error::Invalid(_))), "{class} {config} {call}: {made:?}");
    }
}
