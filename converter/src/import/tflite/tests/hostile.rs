//! Bytes that nobody should trust: they may be refused, or even mean something, but they must not panic or take long.

use crate::data::random::Random;
use crate::import::{Options, tflite};
use std::time::{Duration, Instant};

/// Longest that one import may take; far above what any does.
const LONGEST: Duration = Duration::from_secs(10);

fn below(random: &mut Random, n: usize) -> usize {
    (random.bits() >> 16) as usize % n.max(1)
}

fn try_import(bytes: &[u8]) {
    let start = Instant::now();
    if let Ok(g) = tflite::import(bytes, &Options::default()) {
        // What is accepted must be sound.
        g.verify().unwrap_or_else(|e| panic!("an inconsistent network was accepted: {e}"));
    }
    assert!(start.elapsed() < LONGEST);
}

/// Numbers that upset arithmetic, as they lie in a file.
const NASTY: [u32; 8] = [0, 1, 0x7f, 0xff, 0xffff, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff];

#[test]
fn mutations_do_not_panic() {
    let models = [super::models(&super::data()), super::models(&super::data().join("refused"))].concat();
    let each = std::env::var("SEPAL_MUTATIONS").ok().and_then(|n| n.parse().ok()).unwrap_or(60_000) / models.len();
    for (m, path) in models.iter().enumerate() {
        let good = std::fs::read(path).unwrap();
        let mut random = Random::new(m as u64 + 1);
        for _ in 0..each / 3 {
            try_import(&good[..below(&mut random, good.len())]);
        }
        for _ in 0..each {
            let mut bytes = good.clone();
            for _ in 0..=below(&mut random, 3) {
                let at = below(&mut random, bytes.len());
                match below(&mut random, 5) {
                    0 => bytes[at] ^= 1 << below(&mut random, 8),
                    1 => bytes[at] = random.bits() as u8,
                    2 => {
                        // Offsets and lengths are words.
                        let at = at / 4 * 4;
                        let word = NASTY[below(&mut random, NASTY.len())].to_le_bytes();
                        bytes[at..].iter_mut().zip(word).for_each(|(b, w)| *b = w);
                    }
                    3 => {
                        let from = below(&mut random, bytes.len()) / 4 * 4;
                        let n = (1 + below(&mut random, 16)).min(bytes.len() - at).min(bytes.len() - from);
                        bytes.copy_within(from..from + n, at);
                    }
                    _ => {
                        let n = (1 + below(&mut random, 8)).min(bytes.len() - at);
                        bytes.drain(at..at + n);
                    }
                }
            }
            try_import(&bytes);
        }
    }
}

#[test]
fn noise_does_not_panic() {
    let mut random = Random::new(7);
    for _ in 0..3000 {
        let mut bytes: Vec<u8> = (0..below(&mut random, 200)).map(|_| random.bits() as u8).collect();
        // Small numbers stay inside of the file longer.
        bytes.iter_mut().step_by(2).for_each(|b| *b %= 32);
        bytes.iter_mut().skip(4).zip(tflite::IDENTIFIER).for_each(|(b, i)| *b = *i);
        try_import(&bytes);
    }
}
