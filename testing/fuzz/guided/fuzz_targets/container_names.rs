#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tcpclose_fuzz::container_names(data));
