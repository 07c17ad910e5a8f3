#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bcvk_guest::fuzzing::ssh_stream(data));
