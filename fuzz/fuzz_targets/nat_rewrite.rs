//! See `webtun_fuzz::nat_rewrite`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| webtun_fuzz::nat_rewrite(data));
