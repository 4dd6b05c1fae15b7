//! COPY BINARY of Postgres, with any input.
#![no_main]

use crds::source::Engine;
use libfuzzer_sys::fuzz_target;

fuzz_target!(
    init: {
        fuzz::begin(Engine::Postgres);
    },
    |input: &[u8]| fuzz::survive(Engine::Postgres, fuzz::begin(Engine::Postgres), input)
);
