//! Arrays of a golden file.

use crate::data::npz::{Array, read_npz};
use std::path::Path;

pub(super) struct Npz(Vec<(String, Vec<usize>, Vec<f64>)>);

impl Npz {
    /// Reads every array of floats.
    pub(super) fn open(path: &Path) -> Result<Self, String> {
        let arrays = read_npz(path).map_err(|e| e.to_string())?;
        let wide = |(name, a): (String, Array)| (name, a.shape, a.values.into_iter().map(f64::from).collect());
        Ok(Self(arrays.into_iter().map(wide).collect()))
    }

    /// Shape and elements.
    pub(super) fn get(&self, name: &str) -> Result<(Vec<usize>, Vec<f64>), String> {
        let found = self.0.iter().find(|(n, _, _)| n == name);
        found.map(|(_, s, d)| (s.clone(), d.clone())).ok_or_else(|| format!("there is no array {name}"))
    }
}
