#!/usr/bin/env bash
# Ends the test environment NAME, alive or half dead, and removes what it left. Its caller holds the test environment's lock.
set -euo pipefail
. "$(dirname "$0")/env.sh"
NAME=${1:?name of the test environment} STATE=$STATE_ROOT/$1
for file in "$STATE"/forwards/* "$STATE/process" "$STATE/outer"; do [ ! -e "$file" ] || end_process "$file"; done
# Deepest first; a group may be busy for a moment after its last process.
remove_cgroups() {
  local dir
  for dir in /sys/fs/cgroup/"$(env_cgroup "$NAME")" /sys/fs/cgroup/*/"$(env_cgroup "$NAME")"; do
    [ ! -d "$dir" ] || find "$dir" -depth -type d -exec rmdir {} + || return 1
  done
}
await 20 "the cgroups of test environment $NAME to empty" remove_cgroups
rm -rf "$STATE"
# Mount points that test environments made on this machine go with the last of them.
for other in "$STATE_ROOT"/*/process; do ! process_is_alive "$other" || exit 0; done
if [ -e "$STATE_ROOT/made" ]; then
  while read -r dir; do rmdir --ignore-fail-on-non-empty "$dir" 2>/dev/null || true; done <"$STATE_ROOT/made"
  rm "$STATE_ROOT/made"
fi
