#!/usr/bin/env bash
# Starts a hot standby of the Postgres of the bed NAME, unless it runs already, and prints its port.
# It ends with the bed. Usage: standby.sh NAME
set -euo pipefail
. "$(dirname "$0")/env.sh"
. "$BED_DIR/stores.sh"
NAME=${1:?name of the bed}
STATE=$STATE_ROOT/$NAME
STANDBY_PORT=5433
read -r pid _ <"$STATE/process"
exec 8>"$STATE/standby.lock"
flock 8

inside() { nsenter --target="$pid" --mount --pid --net -- "$@"; }
answers() { inside env PGPASSWORD=secret psql -h 127.0.0.1 -p $STANDBY_PORT -U postgres -Atc 'select 1'; }

if ! answers >/dev/null 2>&1; then
  data=$STATE/standby
  bin=$(find /usr/lib/postgresql -mindepth 2 -maxdepth 2 -name bin | sort -V | tail -n 1)
  rm -rf "$data" && install -d -o postgres -g postgres -m 700 "$data"
  as_user=(setpriv --reuid=postgres --regid=postgres --init-groups --reset-env)
  inside "${as_user[@]}" "$bin/pg_basebackup" -h "$STATE/postgres" -p $POSTGRES_PORT -U postgres -D "$data" \
    -R -X stream -c fast >"$STATE/log/standby-copy.log" 2>&1 || die "pg_basebackup: $(cat "$STATE/log/standby-copy.log")"
  # A reader that is in the way of what the primary did is cancelled soon.
  cat >>"$data/postgresql.auto.conf" <<C
port = $STANDBY_PORT
unix_socket_directories = '$data'
max_standby_streaming_delay = '5s'
hot_standby_feedback = on
C
  setsid nsenter --target="$pid" --mount --pid --net -- "${as_user[@]}" "$bin/postgres" -D "$data" \
    >"$STATE/log/standby.log" 2>&1 </dev/null 8>&- &
  await 60 "the standby" answers
fi
echo $STANDBY_PORT
