//! Hostile input: nothing panics, overflows the stack or takes long.

#![allow(clippy::unwrap_used, missing_docs)]

mod config_support;

use std::time::{Duration, Instant};

use config_support::{Catalogue, Folder, experiment_schema, load, load_text, shown};
use runner::config::{self, Style};

const VALID: &str = r#"{ "schema": 1, "seed": 3, // ä
  "sampler": { "steps": 10, "type": "euler", "schedule": { "type": "linear", "beta_min": 1e-1, "beta_max": 20 } },
  "schedules": [ { "type": "cosine" }, { "type": "cosine", "offset": -0.008 } ], "warmup": null,
  "training": { "lr": 0.5, "betas": [0.9, 0.999], "kind": "f64", "name": "x\u00e4\ud83d\ude00\n", "shuffle": true },
  "named": { "a": { "type": "cosine" } }, "noise": { "law": "gaussian", "sigma": 1 }, "loose": [1, [2]], "outer": "off"
}"#;

/// A small generator (splitmix64), so that a failure can be repeated from its number.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
}

#[test]
fn mutated_bytes_panic() {
    assert!(load_text(VALID, &[]).is_ok());
    let folder = Folder::new();
    let schema = experiment_schema();
    let pieces: [&[u8]; 16] = [
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b"\"",
        b"\\u",
        b"\\",
        b"//",
        b"/*",
        b"1e999",
        b"null",
        b"\xff",
        b"\xe4",
        b"\"type\":",
    ];
    let mut refused = 0;
    for seed in 0..6000 {
        let mut random = Random(seed);
        let mut bytes = VALID.as_bytes().to_vec();
        for _ in 0..=random.below(4) {
            let at = random.below(bytes.len());
            match random.below(5) {
                0 => bytes[at] = random.next() as u8,
                1 if bytes.len() > 1 => drop(bytes.remove(at)),
                1 | 2 => bytes.truncate(at + 1),
                3 => drop(bytes.splice(at..at, pieces[random.below(pieces.len())].iter().copied())),
                _ => {
                    let end = (at + random.below(40)).min(bytes.len());
                    let copy = bytes[at..end].to_vec();
                    let to = random.below(bytes.len());
                    drop(bytes.splice(to..to, copy));
                }
            }
        }
        let path = folder.write("exp.json", &bytes);
        // The end of the same bytes is a bad flag of its own.
        let flag =
            String::from_utf8_lossy(&bytes[bytes.len() - bytes.len().min(60)..]).into_owned();
        let sets = if seed % 4 == 0 { vec![flag] } else { Vec::new() };
        if let Err(problems) = config::load(&path, &sets, &schema, &Catalogue) {
            refused += 1;
            shown(&problems);
        }
    }
    assert!(refused > 4000, "only {refused} mutations were refused");
}

#[test]
fn deep_nesting_overflows_the_stack() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}"), ("{\"loose\":[", "]}")] {
        for close in [close, ""] {
            let text =
                format!("{{ \"anything\":\n{}1{} }}", open.repeat(10_000), close.repeat(10_000));
            let found = shown(&load_text(&text, &[]).unwrap_err());
            assert_eq!(found.len(), 1);
            assert!(found[0].message.contains("more than 128 deep"), "{found:#?}");
            assert_eq!(found[0].line, 2);
        }
    }
    let head = r#"{ "schema": 1, "seed": 1, "sampler": { "type": "exact" }"#;
    let allowed = format!("{head}, \"loose\": {}1{} }}", "[".repeat(127), "]".repeat(127));
    assert!(load_text(&allowed, &[]).is_ok(), "127 arrays in an object are allowed");
}

#[test]
fn nonsense_takes_long() {
    let size = 999_000;
    let mut random = Random(1);
    let noise: String = (0..size).map(|_| char::from(32 + random.below(95) as u8)).collect();
    let many = |piece: &str| piece.repeat(size / piece.len() - 100);
    let of = |count: usize, piece: &str| piece.repeat(count);
    let fields: String = (0..19_000).map(|i| format!("\"k{i}\": {i}, ")).collect();
    let texts = [
        ("noise", noise.clone()),
        ("noise in braces", format!("{{ {noise} }}")),
        ("one line of open braces", many("{")),
        ("one long string", format!("{{ \"seed\": \"{}\" }}", many("x"))),
        ("a long word", many("x")),
        ("a long number", format!("{{ \"seed\": {} }}", many("9"))),
        ("unknown fields", format!("{{ {fields} \"x\": 1 }}")),
        (
            "wrong elements",
            format!("{{ \"training\": {{ \"rates\": [{} 1] }} }}", of(19_000, "\"a\", ")),
        ),
        ("too many values", format!("{{ \"training\": {{ \"rates\": [{} 1] }} }}", many("1, "))),
        ("untagged", format!("{{ \"loose\": [{} 1] }}", of(6_000, "[1, [-1]], "))),
        ("commas", format!("{{ {} }}", many(","))),
        ("the same key", format!("{{ {} \"a\": 1 }}", many("\"a\": 1, "))),
        ("blank lines", many("\n")),
        ("comments", many("/**/")),
        ("wide characters", format!("{{ \"seed\": {} }}", many("ä"))),
    ];
    let folder = Folder::new();
    for (name, text) in texts {
        let path = folder.write("exp.json", text);
        // The best of five: other tests run at the same time.
        let best = (0..5)
            .map(|_| {
                let start = Instant::now();
                let problems = load(&path, &[]).unwrap_err();
                let text = problems.render(Style::Plain);
                let drawn = problems.render(Style::Drawn);
                let time = start.elapsed();
                assert!(
                    text.len() < 60_000 && drawn.len() < 200_000,
                    "{name}: {} bytes of messages",
                    text.len()
                );
                time
            })
            .min()
            .unwrap();
        println!("{name}: {best:?}");
        assert!(best < Duration::from_millis(50), "{name} took {best:?}");
    }
}

#[test]
fn a_small_file_takes_long() {
    let folder = Folder::new();
    let path = folder.write("exp.json", VALID);
    let best = (0..5)
        .map(|_| {
            let start = Instant::now();
            load(&path, &["seed=4"]).unwrap();
            start.elapsed()
        })
        .min()
        .unwrap();
    println!("a small file: {best:?}");
    assert!(best < Duration::from_millis(5), "{best:?}");
}

#[test]
fn escape_sequences_reach_the_terminal() {
    let problems = load_text("{ \"\u{1b}[31m\u{202e}\": 1 }", &["x\u{1b}[2J\n=1"]).unwrap_err();
    for text in [
        problems.render(Style::Plain),
        problems.plain().iter().map(|d| d.message.clone()).collect(),
    ] {
        assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text:?}");
    }
}
