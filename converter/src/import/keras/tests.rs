//! Real files and small generated ones.

use crate::import::{Options, import};
use crate::ir::Graph;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The folder with the real models, unless it is absent.
fn shared() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared");
    let folder = std::env::var_os("SEPAL_SHARED").map_or(beside, PathBuf::from);
    if !folder.join("models").is_dir() {
        println!("SKIPPED: {} has no models", folder.display());
        return None;
    }
    Some(folder)
}

fn kinds(g: &Graph) -> BTreeMap<String, usize> {
    let mut all = BTreeMap::new();
    for n in &g.nodes {
        *all.entry(n.kind.clone()).or_default() += 1;
    }
    all
}

#[test]
fn dump() {
    let Ok(path) = std::env::var("KERAS_FILE") else { return };
    for path in path.split(':') {
        let t = std::time::Instant::now();
        match import(Path::new(path), &Options::default()) {
            Ok(g) => {
                println!(
                    "{path}: {} nodes, {} of {} parameters, {:?} {:?} -> {:?}, {:?}",
                    g.nodes.len(),
                    g.trainable_parameters,
                    g.total_parameters,
                    kinds(&g),
                    g.inputs.iter().map(|v| g.shape(*v)).collect::<Vec<_>>(),
                    g.output_names,
                    t.elapsed()
                );
                if std::env::var_os("VERBOSE").is_some() {
                    for n in &g.nodes {
                        println!(
                            "  {} {:?} {:?} -> {:?}",
                            n.name,
                            n.op,
                            n.inputs.iter().map(|v| &g.values[v.0].name).collect::<Vec<_>>(),
                            g.shape(n.output)
                        );
                    }
                }
            }
            Err(e) => println!("{path}: {e}"),
        }
    }
}
