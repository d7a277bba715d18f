//! Arrays of a golden file.

use std::path::Path;

pub(super) struct Npz(Vec<(String, Vec<usize>, Vec<f64>)>);

impl Npz {
    /// Reads every array of floats.
    pub(super) fn open(path: &Path) -> Result<Self, String> {
        let fail = |e: std::io::Error| format!("{}: {e}", path.display());
        let mut file = npyz::npz::NpzArchive::open(path).map_err(fail)?;
        let names: Vec<String> = file.array_names().map(str::to_string).collect();
        let mut arrays = vec![];
        for name in names {
            let Some(npy) = file.by_name(&name).map_err(fail)? else { continue };
            let shape = npy.shape().iter().map(|&d| d as usize).collect();
            let data: Vec<f32> = npy.into_vec().map_err(fail)?;
            arrays.push((name, shape, data.into_iter().map(f64::from).collect()));
        }
        Ok(Self(arrays))
    }

    /// Shape and elements.
    pub(super) fn get(&self, name: &str) -> Result<(Vec<usize>, Vec<f64>), String> {
        let found = self.0.iter().find(|(n, _, _)| n == name);
        found.map(|(_, s, d)| (s.clone(), d.clone())).ok_or_else(|| format!("there is no array {name}"))
    }
}
