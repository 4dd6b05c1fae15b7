#!/usr/bin/env bash
# Makes docs/faults.md of tests/faults.txt and the output of the tests, and fails where it is not the committed one,
# or where a test that it or the README names did not pass. Usage: fault_table.sh TARGET_FOLDER
set -euo pipefail
cd "$(dirname "$0")/../.."
"$1/debug/fault_table" tests/faults.txt README.md "$1/test.log" >"$1/faults.md"
cp "$1/faults.md" docs/faults.md
git diff --exit-code -- docs/faults.md >&2 || { echo "error: docs/faults.md was not up to date; commit it" >&2; exit 1; }
