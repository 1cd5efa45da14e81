//! See `webtun_fuzz::fragments`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| webtun_fuzz::fragments(data));
