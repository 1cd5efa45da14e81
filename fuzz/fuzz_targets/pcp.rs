//! See `webtun_fuzz::pcp`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| webtun_fuzz::pcp(data));
