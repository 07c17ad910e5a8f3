#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bcvk_supervisor::fuzzing::trace(data));
