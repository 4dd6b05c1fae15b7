#!/usr/bin/env bash
# Boots the test environment NAME and prints its state folder; what an earlier test environment of that name left is removed first.
# Usage: up.sh NAME [--reuse]    --reuse keeps a test environment that is alive, ready and booted from these same scripts.
set -euo pipefail
. "$(dirname "$0")/env.sh"
NAME=${1:?name of the test environment} REUSE=${2:-}
STATE=$STATE_ROOT/$NAME
BOOT_SECONDS=180

"$ENV_DIR/install.sh"
others=()
[ -e "/usr/lib/postgresql/$(postgres_release)/bin" ] || others+=(postgres)
[ "$MYSQL" = mariadb-10.11 ] || others+=(mysql)
[ ${#others[@]} = 0 ] || "$ENV_DIR/install.sh" "${others[@]}"
mkdir -p "$STATE_ROOT" && [ -O "$STATE_ROOT" ] || die "$STATE_ROOT belongs to somebody else"
chmod 755 "$STATE_ROOT"
lock_env "$NAME"

if [ "$REUSE" = --reuse ] && [ -e "$STATE/ready" ] && process_is_alive "$STATE/process" && [ "$(cat "$STATE/hash")" = "$(env_hash)" ]; then
  echo "$STATE"
  exit
fi

"$ENV_DIR/clean.sh" "$NAME"
say "test environment $NAME: starting; logs: $STATE/log"
mkdir -p "$STATE/log"
env_hash >"$STATE/hash"
boot_log=$STATE/log/boot.log
# A process group of its own: Ctrl-C on the caller must not end a test environment that others use.
setsid unshare --mount --net --pid --fork --kill-child=KILL --mount-proc "$ENV_DIR/inner.sh" "$NAME" "$STATE" >"$boot_log" 2>&1 </dev/null 9>&- &
outer=$!
process_name "$outer" >"$STATE/outer"
init=
until read -r init _ 2>/dev/null <"/proc/$outer/task/$outer/children" || [ -n "$init" ]; do kill -0 $outer || die "the namespaces could not be made: $(cat "$boot_log")"; sleep 0.05; done
process_name "$init" >"$STATE/process"

shown=0
show_progress() {
  local lines; lines=$(wc -l <"$boot_log")
  ((lines == shown)) || sed -n "$((shown + 1)),${lines}p" "$boot_log" >&2
  shown=$lines
}
end=$(($(date +%s) + BOOT_SECONDS))
until [ -e "$STATE/ready" ]; do
  process_is_alive "$STATE/process" || { show_progress; die "test environment $NAME did not come up, see $STATE/log"; }
  (($(date +%s) < end)) || { show_progress; die "test environment $NAME not ready after $BOOT_SECONDS s, see $STATE/log"; }
  show_progress
  sleep 0.1
done
show_progress
say "test environment $NAME: ready"
echo "$STATE"
