//! See `webtun_fuzz::icmp`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| webtun_fuzz::icmp(data));
