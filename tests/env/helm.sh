#!/usr/bin/env bash
# The test environment's Helm, outside of any test environment. Usage: helm.sh ARGUMENTS...
set -euo pipefail
. "$(dirname "$0")/env.sh"
exec "$(cached helm)/helm" "$@"
