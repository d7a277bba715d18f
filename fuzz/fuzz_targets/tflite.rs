//! The importer of .tflite files, and all that follows it up to a run.
#![no_main]
use libfuzzer_sys::{fuzz_mutator, fuzz_target};

fuzz_target!(|bytes: &[u8]| sepal_fuzz::target(|| sepal_fuzz::source("fuzz.tflite", bytes)));
fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| { sepal_fuzz::mutate_tables(data, size, max_size, seed) });
