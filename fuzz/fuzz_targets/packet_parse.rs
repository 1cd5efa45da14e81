//! See `webtun_fuzz::packet_parse`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| webtun_fuzz::packet_parse(data));
