#!/usr/bin/env bash
# Fuzzes the decoder of each engine for SECONDS, beginning with the corpus of earlier runs; an input that breaks it is kept,
# named, and tried again each time. Usage: run.sh SECONDS [TARGET...]
set -euo pipefail
cd "$(dirname "$0")"
SECONDS_EACH=${1:?seconds for each target}
shift
[ $# -gt 0 ] || set -- postgres mysql
# apart from the workspace's: its programs are compiled in another way
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/../target}/fuzz
export RUSTC_WRAPPER=$PWD/rustc.sh
INPUT_BYTES_MAX=4096

cargo build --quiet --bins
for target in "$@"; do
  corpus=$CARGO_TARGET_DIR/corpus/$target found=$CARGO_TARGET_DIR/found/$target log=$CARGO_TARGET_DIR/$target.log
  mkdir -p "$corpus" "$found" "$CARGO_TARGET_DIR/seeds/$target"
  FUZZ_SEEDS=$CARGO_TARGET_DIR/seeds/$target "$CARGO_TARGET_DIR/debug/$target" -max_total_time="$SECONDS_EACH" -max_len=$INPUT_BYTES_MAX -timeout=10 -rss_limit_mb=2048 \
    -print_final_stats=1 -artifact_prefix="$found/" "$corpus" "$CARGO_TARGET_DIR/seeds/$target" "$found" >"$log" 2>&1 || {
    grep -E 'panicked|assertion|left|right|ERROR|Test unit written' "$log" | cut -c1-300 >&2
    echo "error: $target broke; run it again with: $CARGO_TARGET_DIR/debug/$target FILE; log: $log" >&2
    exit 1
  }
  coverage=$(grep -E '^#[0-9]+.*cov:' "$log" | tail -n 1)
  printf '%-9s %s executions, %s\n' "$target" "$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")" \
    "$(sed -E 's/.*cov: ([0-9]+) ft: ([0-9]+) corp: ([0-9]+).*/\1 edges, \2 features, \3 inputs kept/' <<<"$coverage")"
done
