//! The importer of .tflite files, and all that follows it up to a run.
#![no_main]
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| sepal_fuzz::target(|| sepal_fuzz::source("fuzz.tflite", bytes)));
