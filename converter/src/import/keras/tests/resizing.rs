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
    assert!(matches!(built(&of("bilinear"), 2), Err(Error::Unsupported(all)) if all[0].remedy.contains("TensorFlow 2.3")));
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

/// One number for a series, two for an image.
#[test]
fn output_padding_has_a_number_for_each_axis() {
    let of = |class: &str, shape: &str, padding: &str| {
        let layer = format!(
            r#"{{"class_name": "Sequential", "config": {{"name": "s", "layers": [
                {{"class_name": "InputLayer", "config": {{"batch_shape": {shape}, "name": "i"}}}},
                {{"class_name": "{class}", "config": {{"name": "t", "trainable": true, "filters": 2, "kernel_size": 3, "strides": 2,
                  "output_padding": {padding}}}}}]}}}}"#
        );
        // What is accepted ends without its weights.
        built(&layer, 3).unwrap_err().to_string()
    };
    let (series, image) = ("[null, 8, 3]", "[null, 8, 8, 3]");
    for (class, shape, padding) in
        [("Conv1DTranspose", series, "[0, 1]"), ("Conv2DTranspose", image, "[1]"), ("Conv1DTranspose", series, "[2]")]
    {
        let said = of(class, shape, padding);
        assert!(said.contains("output_padding"), "{class} {padding}: {said}");
    }
    for (class, shape, padding) in [("Conv1DTranspose", series, "[1]"), ("Conv2DTranspose", image, "[0, 1]")] {
        let said = of(class, shape, padding);
        assert!(!said.contains("output_padding"), "{class} {padding}: {said}");
    }
}

/// What lies in the middle; of a smaller picture Keras makes a larger one first.
#[test]
fn middles_of_images() {
    let of = |height: usize| {
        format!(
            r#"{{"class_name": "Sequential", "config": {{"name": "s", "layers": [
                {{"class_name": "InputLayer", "config": {{"batch_shape": [null, 9, 8, 3], "name": "i"}}}},
                {{"class_name": "CenterCrop", "config": {{"name": "c", "trainable": true, "height": {height}, "width": 8}}}}]}}}}"#
        )
    };
    let cut = built(&of(4), 3).unwrap();
    assert_eq!(cut.shape(cut.outputs[0]), [1, 4, 8, 3]);
    assert!(matches!(built(&of(10), 3), Err(Error::Unsupported(all)) if all[0].what.contains("10x8 from 9x8")));
    assert!(matches!(built(&of(4), 1), Err(Error::Unsupported(all)) if all[0].what.contains("not known")));
}
