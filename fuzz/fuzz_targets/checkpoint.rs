#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bcvk_contract::fuzzing::checkpoint(data));
