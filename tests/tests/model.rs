//! Random actions against the reference model of NAT and policy.
//!
//! `WEBTUN_MODEL_ACTIONS` (default 30,000) says how many altogether; they are made in runs of 1,000, each from a seed of its
//! own, which `WEBTUN_MODEL_SEED` replays.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::env;
use webtun_tests::action::ACTION_LEN;
use webtun_tests::model;
use webtun_tests::rng::SimRng;

fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().expect("a number"))
}

/// Says which seed failed.
struct Announce(u64);

impl Drop for Announce {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("replay with WEBTUN_MODEL_SEED={}", self.0);
        }
    }
}

/// Actions of one run: enough to fill the blocks and to outlive every timer.
const RUN: u64 = 1000;

#[test]
fn the_gateway_does_what_the_reference_does() {
    let actions = number("WEBTUN_MODEL_ACTIONS").unwrap_or(30_000);
    let seeds = match number("WEBTUN_MODEL_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..actions.div_ceil(RUN),
    };
    for seed in seeds {
        let _announce = Announce(seed);
        let input = SimRng::new(seed, "model").vec(1 + ACTION_LEN * RUN as usize);
        model::run(&input);
    }
}
