//! What the developers' checks in `bin/` share. Benchmarks live in `benches/`.

pub mod listing;
pub mod networks;
