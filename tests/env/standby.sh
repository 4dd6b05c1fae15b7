#!/usr/bin/env bash
# Starts a hot standby of the Postgres of the test environment NAME, unless it runs already, and prints its port.
# It ends with the test environment. Usage: standby.sh NAME
set -euo pipefail
. "$(dirname "$0")/env.sh"
. "$ENV_DIR/stores.sh"
NAME=${1:?name of the test environment}
STATE=$STATE_ROOT/$NAME
STANDBY_PORT=5433
read -r pid _ <"$STATE/process"
exec 8>"$STATE/standby.lock"
flock 8

inside() { nsenter --target="$pid" --mount --pid --net -- "$@"; }
primary() { inside psql -h "$STATE/postgres" -p $POSTGRES_PORT -U postgres -XAtq -v ON_ERROR_STOP=1; }
answers() { inside env PGPASSWORD=secret psql -h 127.0.0.1 -p $STANDBY_PORT -U postgres -Atc 'select 1'; }

# An online copy: not every build of Postgres comes with pg_basebackup. The session that begins it also ends it. WAL is
# streamed later, from the primary's wal_keep_size.
copy() { # RELEASE DATA
  local begin="pg_backup_start('standby', true)" end='pg_backup_stop(false)' log=$STATE/log/standby-copy.log begun=
  [ "$1" != 14 ] || begin="pg_start_backup('standby', true, false)" end='pg_stop_backup(false)'
  coproc SESSION { primary 2>"$log" 8>&-; }
  local session=$SESSION_PID in=${SESSION[1]}
  echo "select 'begun' from $begin;" >&"$in"
  read -r -t 60 -u "${SESSION[0]}" begun && [ "$begun" = begun ] || die "the copy could not begin: $(cat "$log")"
  # tar ends with 1 if files change while it reads them
  { tar -C "$STATE/postgres" --ignore-failed-read --exclude='./pg_wal/*' --exclude='./pg_replslot/*' \
    --exclude='./postmaster.*' -cf - . 2>>"$log" || [ $? = 1 ]; } | tar -C "$2" -xpf - || die "the copy failed: $(cat "$log")"
  printf '%s\n' "\\o $2/backup_label" "select labelfile from $end;" >&"$in"
  exec {in}>&-
  wait "$session" || die "the copy could not end: $(cat "$log")"
  chown postgres:postgres "$2/backup_label"
}

if ! answers >/dev/null 2>&1; then
  data=$STATE/standby
  release=$(cat "$STATE/postgres/PG_VERSION")
  bin=$(postgres_bin "$release" "$STATE/postgres-server")
  rm -rf "$data" && install -d -o postgres -g postgres -m 700 "$data"
  copy "$release" "$data"
  touch "$data/standby.signal" && chown postgres:postgres "$data/standby.signal"
  # A reader that is in the way of what the primary did is cancelled soon.
  cat >>"$data/postgresql.auto.conf" <<C
primary_conninfo = 'host=$STATE/postgres port=$POSTGRES_PORT user=postgres'
port = $STANDBY_PORT
unix_socket_directories = '$data'
max_standby_streaming_delay = '5s'
hot_standby_feedback = on
C
  setsid nsenter --target="$pid" --mount --pid --net -- \
    setpriv --reuid=postgres --regid=postgres --init-groups --reset-env "$bin/postgres" -D "$data" \
    >"$STATE/log/standby.log" 2>&1 </dev/null 8>&- &
  await 60 "the standby" answers
fi
echo $STANDBY_PORT
