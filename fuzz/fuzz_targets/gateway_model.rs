//! See `webtun_fuzz::gateway_model`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| webtun_fuzz::gateway_model(data));
