#!/usr/bin/env bash
# The bed's Helm, outside of any bed. Usage: helm.sh ARGUMENTS...
set -euo pipefail
. "$(dirname "$0")/env.sh"
exec "$(cached helm)/helm" "$@"
