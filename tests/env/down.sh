#!/usr/bin/env bash
# Ends the test environment NAME and removes everything of it but the cache. Usage: down.sh NAME
set -euo pipefail
. "$(dirname "$0")/env.sh"
NAME=${1:?name of the test environment}
[ -d "$STATE_ROOT" ] || exit 0
lock_env "$NAME"
"$ENV_DIR/clean.sh" "$NAME"
rm -f "$STATE_ROOT/$NAME.lock"
rmdir --ignore-fail-on-non-empty "$STATE_ROOT"
