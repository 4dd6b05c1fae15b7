#!/usr/bin/env bash
# Starts another release of Postgres (14, 16, 17, 18) in the test environment NAME, unless it runs already, and prints its port.
# It has the certificate and the superuser of the test environment's own, and ends with the test environment. Usage: postgres.sh NAME VERSION
set -euo pipefail
. "$(dirname "$0")/env.sh"
. "$ENV_DIR/databases.sh"
NAME=${1:?name of the test environment} VERSION=${2:?version}
STATE=$STATE_ROOT/$NAME
PORT=$((5400 + VERSION))
read -r pid _ <"$STATE/process"
exec 8>"$STATE/postgres-$VERSION.lock"
flock 8

inside() { nsenter --target="$pid" --mount --pid --net -- "$@"; }
answers() { inside env PGPASSWORD=secret psql -h 127.0.0.1 -p $PORT -U postgres -Atc 'select 1'; }

if ! answers >/dev/null 2>&1; then
  "$ENV_DIR/install.sh" postgres 8>&-
  data=$STATE/postgres-$VERSION
  rm -rf "$data" && install -d -o postgres -g postgres -m 700 "$data"
  bin=$(postgres_bin "$VERSION" "$data/server")
  as_user=(setpriv --reuid=postgres --regid=postgres --init-groups --reset-env)
  inside "${as_user[@]}" "$bin/initdb" -D "$data/data" -U postgres --auth-host=scram-sha-256 --auth-local=trust \
    --pwfile="$STATE/postgres.password" -E UTF8 --locale=C.UTF-8 -N >"$STATE/log/initdb-$VERSION.log" 2>&1 ||
    die "initdb: $(cat "$STATE/log/initdb-$VERSION.log")"
  for f in postgres.key postgres.crt; do install -o postgres -g postgres -m 600 "$STATE/pki/$f" "$data/data/$f"; done
  cat >>"$data/data/postgresql.conf" <<C
listen_addresses = '127.0.0.1,$IP'
port = $PORT
unix_socket_directories = '$data'
ssl = on
ssl_cert_file = 'postgres.crt'
ssl_key_file = 'postgres.key'
fsync = off
wal_level = logical
max_prepared_transactions = 10
C
  cp "$STATE/postgres/pg_hba.conf" "$data/data/pg_hba.conf" && chown postgres "$data/data/pg_hba.conf"
  setsid nsenter --target="$pid" --mount --pid --net -- "${as_user[@]}" "$bin/postgres" -D "$data/data" \
    >"$STATE/log/postgres-$VERSION.log" 2>&1 </dev/null 8>&- &
  await 60 "Postgres $VERSION" answers
fi
echo $PORT
