//! See `webtun_fuzz::bridge_frame`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| webtun_fuzz::bridge_frame(data));
