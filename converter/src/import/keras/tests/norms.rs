//! Normalisations.

use super::{CALL, LAYER, built, golden, network};
use crate::error::Error;

#[test]
fn layer_norms() {
    let all = ["layer_norms", "more_norms", "curves"]
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
