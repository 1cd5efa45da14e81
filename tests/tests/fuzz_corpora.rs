//! Every input that the fuzzers have kept is run again, through the same functions.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use webtun_fuzz::TARGETS;

/// Says which input failed.
struct Announce(PathBuf);

impl Drop for Announce {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the input is {}", self.0.display());
        }
    }
}

#[test]
fn every_kept_input_still_passes() {
    for (name, target) in TARGETS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(name);
        let mut inputs: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        inputs.sort();
        assert!(inputs.len() > 10, "{name} has a corpus");
        for path in inputs {
            let data = fs::read(&path).unwrap();
            let _announce = Announce(path);
            target(&data);
        }
    }
}

#[test]
fn every_beginning_of_a_kept_input_passes() {
    for (name, target) in TARGETS.iter().filter(|(name, _)| *name != "gateway_model") {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(name);
        for entry in fs::read_dir(&folder).unwrap() {
            let data = fs::read(entry.unwrap().path()).unwrap();
            (0..data.len().min(64)).for_each(|len| target(&data[..len]));
        }
    }
}
