//! A folder of a test's own, removed at its end. What a test does in it is an `impl` of its own.
#![allow(dead_code, reason = "each test uses a part of it")]

use std::path::PathBuf;

pub struct Folder(pub PathBuf);

impl Folder {
    /// An empty one. No two tests of a process may give the same name.
    pub fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("sepal-{test}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    /// What is in it, sorted.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> =
            std::fs::read_dir(&self.0).unwrap().map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
