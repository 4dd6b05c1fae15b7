# Postgres, MariaDB, the S3 server and DynamoDB. Sourced by inner.sh, which has STATE, PKI and `start`.
# TIDEMARK_POSTGRES and TIDEMARK_MYSQL name other releases, as databases.sh has them.
. "$ENV_DIR/databases.sh"

as_postgres() { setpriv --reuid=postgres --regid=postgres --init-groups --reset-env "$@"; }

start_postgres() {
  local bin data=$STATE/postgres
  bin=$(postgres_bin "$(postgres_release)" "$STATE/postgres-server")
  install -d -o postgres -g postgres -m 700 "$data"
  echo secret >"$data.password" && chmod 644 "$data.password"
  as_postgres "$bin/initdb" -D "$data" -U postgres --auth-host=scram-sha-256 --auth-local=trust \
    --pwfile="$data.password" -E UTF8 --locale=C.UTF-8 -N >"$STATE/log/initdb.log" 2>&1
  for f in postgres.key postgres.crt; do install -o postgres -g postgres -m 600 "$PKI/$f" "$data/$f"; done
  cat >>"$data/postgresql.conf" <<C
listen_addresses = '127.0.0.1,$IP'
port = $POSTGRES_PORT
unix_socket_directories = '$data'
ssl = on
ssl_cert_file = 'postgres.crt'
ssl_key_file = 'postgres.key'
fsync = off
wal_level = logical
wal_keep_size = 1GB
max_connections = 300
max_prepared_transactions = 10
log_line_prefix = '%m [%p] %q%d %a '
C
  # What a benchmark measures must not depend on what the server does in the background.
  [ -z "$DATABASE_MIB" ] || printf '%s\n' "shared_buffers = ${DATABASE_MIB}MB" 'jit = off' 'autovacuum = off' \
    'max_wal_size = 16GB' 'checkpoint_timeout = 1h' >>"$data/postgresql.conf"
  # Over TCP only with TLS: a product that leaves it out must fail here.
  printf '%s\n' 'local all all trust' 'local replication all trust' 'hostssl all all 127.0.0.1/32 scram-sha-256' 'hostssl all all 198.18.0.0/15 scram-sha-256' >"$data/pg_hba.conf"
  start postgres setpriv --reuid=postgres --regid=postgres --init-groups --reset-env "$bin/postgres" -D "$data"
}
postgres_is_ready() { PGPASSWORD=secret psql -h 127.0.0.1 -p $POSTGRES_PORT -U postgres -Atc 'select 1'; }

start_mariadb() {
  mysql_program "$MYSQL"
  mysql_initialize "$MYSQL" "$STATE/mariadb" >"$STATE/log/mariadb-install.log" 2>&1
  mysql_options "$MYSQL" "$STATE/mariadb" $MARIADB_PORT
  start mariadb "${MYSQLD[@]}"
}
mariadb_is_ready() { mysql_answers $MARIADB_PORT "$MYSQL"; }

start_s3() {
  mkdir -p "$STATE/s3"
  cat >"$STATE/identities.json" <<'C'
{"identities": [
  {"name": "tidemark", "credentials": [{"accessKey": "tidemark", "secretKey": "tidemark-secret"}], "actions": ["Admin", "Read", "Write", "List", "Tagging"]},
  {"name": "reader", "credentials": [{"accessKey": "reader", "secretKey": "reader-secret"}], "actions": ["Read", "List"]}
]}
C
  # volume.max: a bucket takes several volumes, and the default is used up by the second bucket. One volume a bucket,
  # since the suite makes hundreds of them: else the server has none left to write to.
  mkdir -p "$STATE/.seaweedfs"
  printf '[master.volume_growth]\ncopy_1 = 1\ncopy_2 = 1\ncopy_3 = 1\ncopy_other = 1\n' >"$STATE/.seaweedfs/master.toml"
  HOME=$STATE start s3 "$(cached python)/bin/weed" server -dir="$STATE/s3" -ip=127.0.0.1 -ip.bind=127.0.0.1 \
    -s3 -s3.ip.bind=$IP -s3.port=$S3_PORT -s3.domainName=s3.test -s3.config="$STATE/identities.json" \
    -s3.port.iceberg=0 -s3.port.lance=0 -volume.max=2000 -master.volumeSizeLimitMB=64 -volume.preStopSeconds=0
}
# The port is open seconds before a write is taken.
s3_is_ready() {
  local path
  for path in env-ready env-ready/object; do
    curl -sS -f -m 5 -X PUT --aws-sigv4 aws:amz:us-east-1:s3 --user tidemark:tidemark-secret "http://$IP:$S3_PORT/$path" || return 1
  done
}

start_dynamodb() {
  local lib; lib=$(cached dynamodb)/lib
  # sharedDb: without it each access key sees tables of its own.
  start dynamodb java -Xmx512m -Djava.library.path="$lib" -cp "$lib/*" \
    com.amazonaws.services.dynamodbv2.local.main.ServerRunner -inMemory -sharedDb -disableTelemetry -port $DYNAMODB_PORT
}
dynamodb_is_ready() { curl -sS -m 5 -o /dev/null "http://$IP:$DYNAMODB_PORT/"; }
