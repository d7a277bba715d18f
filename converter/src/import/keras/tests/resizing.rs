//! Images of another size.

use super::{built, golden};
use crate::error::Error;

#[test]
fn whole_factors_between_pixels() {
    for file in ["upsampling.k3.keras", "upsampling.k3.h5"] {
        golden(file, &[]);
    }
    let of = |mode: &str| {
        format!(
            r#"{{"class_name": "Sequential", "config": {{"name": "s", "layers": [
                {{"class_name": "InputLayer", "config": {{"batch_shape": [null, 8, 8, 3], "name": "i"}}}},
                {{"class_name": "UpSampling2D", "config": {{"name": "u", "trainable": true, "interpolation": "{mode}"}}}}]}}}}"#
        )
    };
    assert!(matches!(built(&of("bilinear"), 2), Err(Error::Unsupported(all)) if all[0].remedy.contains("Keras 3")));
    assert!(matches!(built(&of("bicubic"), 3), Err(Error::Unsupported(all)) if all[0].what.contains("bicubic")));
    assert!(built(&of("nearest"), 2).is_ok());
}

/// Another size, or the same in whatever way.
#[test]
fn images_of_another_size() {
    for file in ["resizing.k2.keras", "resizing.k2.h5", "resizing.k3.keras", "resizing.k3.h5"] {
        golden(file, &[]);
    }
    let of = |more: &str| {
        format!(
            r#"{{"class_name": "Sequential", "config": {{"name": "s", "layers": [
                {{"class_name": "InputLayer", "config": {{"batch_shape": [null, 8, 8, 3], "name": "i"}}}},
                {{"class_name": "Resizing", "config": {{"name": "r", "trainable": true, "height": 4, "width": 6{more}}}}}]}}}}"#
        )
    };
    for (more, what) in [
        (r#", "interpolation": "lanczos3""#, "lanczos3"),
        (r#", "crop_to_aspect_ratio": true"#, "crop_to_aspect_ratio"),
        (r#", "pad_to_aspect_ratio": true"#, "pad_to_aspect_ratio"),
        (r#", "antialias": true"#, "antialias"),
    ] {
        let Err(Error::Unsupported(all)) = built(&of(more), 3) else { panic!("{more}") };
        assert!(all.len() == 1 && all[0].what.contains(what) && !all[0].remedy.is_empty(), "{all:?}");
    }
    // Nearest pixels know no antialiasing, and Keras 1 had no such layer.
    assert!(built(&of(r#", "interpolation": "nearest", "antialias": true"#), 3).is_ok());
    assert!(matches!(built(&of(""), 1), Err(Error::Unsupported(all)) if all[0].what.contains("not known")));
}
