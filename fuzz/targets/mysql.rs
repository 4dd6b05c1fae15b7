//! Binary rows of MySQL, with any input.
#![no_main]

use crds::source::Engine;
use libfuzzer_sys::fuzz_target;

fuzz_target!(
    init: {
        fuzz::begin(Engine::Mysql);
    },
    |input: &[u8]| fuzz::survive(Engine::Mysql, fuzz::begin(Engine::Mysql), input)
);
