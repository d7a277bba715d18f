//! The networks of the fixtures, imported.

use sepal_converter::Result;
use sepal_converter::import::{Options, keras, onnx};
use sepal_converter::ir::Graph;
use sepal_fixtures as fixtures;

/// All of them, by the names of their files.
///
/// # Errors
/// None, unless an importer is broken.
pub fn all() -> Result<Vec<(&'static str, Graph)>> {
    let plain = Options::default();
    Ok(vec![
        ("mini_xception.keras", keras::import_keras(fixtures::MINI_XCEPTION_KERAS, &plain)?),
        ("mini_xception.h5", keras::import_h5(fixtures::MINI_XCEPTION_H5, &plain)?),
        ("mini_xception.onnx", onnx::import(fixtures::MINI_XCEPTION_ONNX, None, &plain)?),
        ("mini_xception_nchw.onnx", onnx::import(fixtures::MINI_XCEPTION_NCHW_ONNX, None, &plain)?),
        ("mini_inception.keras", keras::import_keras(fixtures::MINI_INCEPTION_KERAS, &plain)?),
        ("mini_inception.h5", keras::import_h5(fixtures::MINI_INCEPTION_H5, &plain)?),
        ("mini_inception.onnx", onnx::import(fixtures::MINI_INCEPTION_ONNX, None, &plain)?),
    ])
}

#[cfg(test)]
mod tests {
    #[test]
    fn all_fixtures_are_there() {
        let index: serde_json::Value = serde_json::from_str(include_str!("../../fixtures/models.json")).unwrap();
        let mut want: Vec<&str> = index["models"].as_array().unwrap().iter().map(|m| m["name"].as_str().unwrap()).collect();
        let mut all: Vec<&str> = super::all().unwrap().into_iter().map(|(name, _)| name).collect();
        want.sort_unstable();
        all.sort_unstable();
        assert_eq!(all, want);
    }
}
