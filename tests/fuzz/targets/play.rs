//! Runs a target over its corpus and over a fixed number of mutations of it, the same every time.
//!
//! The inputs are a target, what real encoders make for it, and a number of rounds; the target judges. With
//! `HUEFLOW_BLESS=1` the encoders' part of `tests/fuzz/corpus` is written anew. Mutations come from a seeded SplitMix64, so
//! what failed once fails again.

use std::path::Path;

/// Longest input.
const BYTES_MAX: usize = 64 * 1024;

struct Split(u64);

impl Split {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }
}

/// Says what was played when it failed.
struct Playing<'a>(&'a str, String, &'a [u8]);

impl Drop for Playing<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let hex: String = self.2.iter().take(2_048).map(|b| format!("{b:02x}")).collect();
            eprintln!("target {}, {}, {} bytes: {hex}", self.0, self.1, self.2.len());
        }
    }
}

/// Runs `target` over its corpus, and `rounds` times over a mutation of one of its inputs.
pub fn play(name: &str, target: fn(&[u8]), seeds: Vec<Vec<u8>>, rounds: usize) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/corpus").join(name);
    if std::env::var_os("HUEFLOW_BLESS").is_some() {
        std::fs::create_dir_all(&dir).unwrap();
        for (i, seed) in seeds.iter().enumerate() {
            std::fs::write(dir.join(format!("seed-{i:02}")), seed).unwrap();
        }
    }
    let mut names: Vec<_> = std::fs::read_dir(&dir).unwrap().map(|e| e.unwrap().path()).collect();
    names.sort();
    let corpus: Vec<Vec<u8>> = names.iter().map(|p| std::fs::read(p).unwrap()).collect();
    assert!(corpus.len() >= seeds.len(), "{} has lost its seeds: HUEFLOW_BLESS=1 writes them", dir.display());
    for (path, bytes) in names.iter().zip(&corpus) {
        let _playing = Playing(name, path.display().to_string(), bytes);
        target(bytes);
    }
    let mut split = Split(name.bytes().fold(1, |n, b| n * 31 + u64::from(b)));
    for round in 0..rounds {
        let mut bytes = corpus[split.below(corpus.len())].clone();
        for _ in 0..=split.below(4) {
            mutate(&mut bytes, &corpus, &mut split);
        }
        bytes.truncate(BYTES_MAX);
        let _playing = Playing(name, format!("round {round}"), &bytes);
        target(&bytes);
    }
}

fn mutate(bytes: &mut Vec<u8>, corpus: &[Vec<u8>], split: &mut Split) {
    let (at, len) = (split.below(bytes.len()), bytes.len());
    let end = (at + 1 + split.below(16)).min(len);
    match split.below(8) {
        _ if len == 0 => bytes.push(split.next() as u8),
        0 => bytes[at] ^= 1 << split.below(8),
        1 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][split.below(5)],
        2 => bytes[at] = split.next() as u8,
        3 => bytes.truncate(at),
        4 => drop(bytes.drain(at..end)),
        5 => {
            let again = bytes[at..end].to_vec();
            drop(bytes.splice(at..at, again));
        }
        6 => drop(bytes.splice(at..end, std::iter::repeat_n(split.next() as u8, end - at))),
        _ => {
            // The end of another one.
            let other = &corpus[split.below(corpus.len())];
            bytes.truncate(at);
            bytes.extend_from_slice(&other[split.below(other.len())..]);
        }
    }
}
