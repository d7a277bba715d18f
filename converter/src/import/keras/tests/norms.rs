//! Normalisations.

use super::{CALL, LAYER, built, data, golden, network};
use crate::error::Error;
use crate::import::Options;

#[test]
fn layer_norms() {
    let all = ["layer_norms", "more_norms", "curves", "enlarged"]
        .map(|name| ["k2.keras", "k2.h5", "k3.keras", "k3.h5"].map(|end| format!("{name}.{end}")));
    for file in all.as_flattened() {
        golden(file, &[]);
    }
    let of = |more: &str| {
        network("float32", &[(r#""LayerNormalization""#, &format!(r#"{LAYER}, "scale": false, "center": false{more}"#), CALL)])
    };
    for (more, what) in
        [(r#", "axis": [1, 2]"#, "axis = [1, 2]"), (r#", "axis": 1"#, "axis = [1]"), (r#", "rms_scaling": true"#, "rms_scaling")]
    {
        let Err(Error::Unsupported(all)) = built(&of(more), 3) else { panic!("{more}") };
        assert!(all.len() == 1 && all[0].what.contains(what), "{all:?}");
    }
}

/// One number stands for the statistics of as many channels as the file claims, and ones and zeros for factors that it lacks: they are
/// refused before they are made.
#[test]
fn a_small_file_cannot_ask_for_terabytes() {
    for (class, config) in [
        ("Normalization", r#""axis": [-1], "mean": 0.5, "variance": 2.0"#),
        ("LayerNormalization", r#""scale": false, "center": false"#),
        ("GroupNormalization", r#""groups": 1, "scale": false, "center": false"#),
        ("RMSNormalization", r#""epsilon": 1e-6"#),
    ] {
        let json = format!(
            r#"{{"class_name": "Sequential", "config": {{"name": "s", "layers": [
                {{"class_name": "InputLayer", "config": {{"batch_shape": [null, 68719476736], "name": "i"}}}},
                {{"class_name": "{class}", "config": {{"name": "n", "trainable": true, {config}}}}}]}}}}"#
        );
        let model = super::super::config::parse(&serde_json::from_str(&json).expect("JSON"), 3, false).expect("a network");
        let demanded = super::super::build::demanded(&model, &[]).expect("the outputs exist");
        let empty =
            super::super::h5::File::open(std::fs::read(data("nested.k2.h5")).expect("the file"), 1 << 20).expect("sound HDF5");
        match super::super::build::build(&model, &demanded, &empty, &Options::default(), Vec::new()) {
            Err(Error::Invalid(text)) => assert!(text.contains("too many nodes and constants"), "{class}: {text}"),
            other => panic!("{class}: {other:?}"),
        }
    }
}
