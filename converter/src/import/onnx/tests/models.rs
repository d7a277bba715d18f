//! Real models and the cases of batch-norm folding.

use crate::import::{Options, onnx};

#[test]
fn shared_models_import() {
    for folder in ["models/models", "models/bn_cases/onnx"] {
        let Some(folder) = super::shared(folder) else { continue };
        let models = super::models(&folder);
        assert!(!models.is_empty());
        for path in models {
            let bytes = std::fs::read(&path).unwrap();
            let g = onnx::import(&bytes, path.parent(), &Options::default()).unwrap_or_else(|e| panic!("{path:?}: {e}"));
            g.verify().unwrap_or_else(|e| panic!("{path:?}: {e}"));
            println!("{path:?}: {} nodes, {} parameters ({} trainable)", g.nodes.len(), g.total_parameters, g.trainable_parameters);
        }
    }
}
