#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| hugbucket::fuzzing::run("shard", input));
