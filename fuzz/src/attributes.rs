//! Mutations of `.h5` files: numbers and words of the JSON that describes the layers, which stays as long as it is, and the sizes and
//! addresses that the file is made of. The files that Keras writes have no checksums.

use crate::random::Random;
use std::ops::Range;

/// The descriptions in a file: from a brace and a quote on, as far as it is text.
fn texts(file: &[u8]) -> Vec<Range<usize>> {
    let mut texts = Vec::new();
    let mut at = 0;
    while let Some(start) = file[at..].windows(2).position(|w| w == b"{\"").map(|i| at + i) {
        let len = file[start..].iter().take_while(|b| (0x20..0x7f).contains(*b)).count();
        if len > 16 {
            texts.push(start..start + len);
        }
        at = start + len.max(2);
    }
    texts
}

/// What lies between marks of JSON: names, numbers, `null`, `true`.
fn words(text: &[u8]) -> Vec<Range<usize>> {
    let inside = |b: &u8| b.is_ascii_alphanumeric() || b"._-+".contains(b);
    let mut words = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let len = text[at..].iter().take_while(|b| inside(b)).count();
        if len > 0 {
            words.push(at..at + len);
        }
        at += len.max(1);
    }
    words
}

/// One to three words, or what libFuzzer does to the bytes.
pub fn mutate(data: &mut [u8], size: usize, max_size: usize, seed: u32) -> usize {
    let mut random = Random::new(seed);
    if size < 16 || random.below(6) == 0 {
        return libfuzzer_sys::fuzzer_mutate(data, size, max_size);
    }
    let file = &mut data[..size];
    let texts = texts(file);
    for _ in 0..1 + random.below(3) {
        if texts.is_empty() || random.below(3) == 0 {
            // Sizes and addresses begin at even places and have two, four or eight bytes.
            let len = 2 << random.below(3);
            let (at, other) = (random.below(size - 8) & !1, random.below(size - 8) & !1);
            let mut old = [0; 8];
            old[..len].copy_from_slice(&file[at..at + len]);
            if random.below(4) == 0 {
                file.copy_within(other..other + len, at);
            } else {
                let new = random.number(u64::from_le_bytes(old));
                file[at..at + len].copy_from_slice(&new.to_le_bytes()[..len]);
            }
            continue;
        }
        let text = texts[random.below(texts.len())].clone();
        let words = words(&file[text.clone()]);
        if words.is_empty() {
            continue;
        }
        let word = words[random.below(words.len())].clone();
        let word = text.start + word.start..text.start + word.end;
        let of_that_length: Vec<_> = words.iter().filter(|w| w.len() <= word.len()).collect();
        let new: Vec<u8> = match random.below(3) {
            // Another word, as long or shorter: what is left over is made of blanks, which are nothing between marks.
            0 => {
                let from = of_that_length[random.below(of_that_length.len())];
                file[text.start + from.start..text.start + from.end].to_vec()
            }
            1 => (0..word.len()).map(|_| b"0123456789-.en"[random.below(14)]).collect(),
            _ => {
                let old = str::from_utf8(&file[word.clone()]).ok().and_then(|t| t.parse().ok()).unwrap_or(0);
                random.number(old).to_string().into_bytes()
            }
        };
        let len = new.len().min(word.len());
        file[word.clone()].fill(b' ');
        file[word.start..word.start + len].copy_from_slice(&new[..len]);
    }
    size
}
