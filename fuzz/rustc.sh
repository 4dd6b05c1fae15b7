#!/usr/bin/env bash
# What cargo calls instead of rustc: the decoders and the targets are compiled with the counters that libFuzzer
# steers by, all else without (it is none of what is fuzzed, and some of it runs while building).
set -euo pipefail
flags=(-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters
  -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1)
case " $* " in
  *" --crate-name worker_core "* | *" --crate-name fuzz "* | *" --crate-name postgres "*targets* | *" --crate-name mysql "*targets*) exec "$@" "${flags[@]}" ;;
  *) exec "$@" ;;
esac
