#!/usr/bin/env bash
# A Postgres (port 5434) and a MariaDB (port 3307) of the test environment NAME to which connecting fails in one way; those of an
# earlier call end. They end with the test environment. Usage: login_server.sh NAME KIND
#   expired  their certificates have expired       stranger  signed by an authority that nobody trusts
#   renamed  they are for another host             plain     they offer no TLS
#   forms    certificate_forms.sh says which certificate they have
# AUTH (reject): how Postgres lets clients in, over TCP.
set -euo pipefail
. "$(dirname "$0")/env.sh"
NAME=${1:?name of the test environment} KIND=${2:?kind}
STATE=$STATE_ROOT/$NAME
DIR=$STATE/logins PKI=$STATE/logins/pki
read -r pid _ <"$STATE/process"
exec 8>"$STATE/logins.lock"
flock 8

inside() { nsenter --target="$pid" --mount --pid --net -- "$@"; }
as_postgres() { inside setpriv --reuid=postgres --regid=postgres --init-groups --reset-env "$@"; }
bin=$(find /usr/lib/postgresql -mindepth 2 -maxdepth 2 -name bin | sort -V | tail -n 1)

# NAME AUTHORITY-FOLDER START END: start and end as YYMMDDhhmmssZ
certificate() {
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$1.key" -out "$1.csr" -subj "/CN=$1"
  printf 'subjectAltName=%s\nextendedKeyUsage=serverAuth\n' "$5" >"$1.ext"
  : >"$2/index"
  printf '[ca]\ndefault_ca=x\n[x]\ndatabase=%s/index\nnew_certs_dir=%s\nserial=%s/serial\ndefault_md=sha256\npolicy=p\nunique_subject=no\n[p]\ncommonName=supplied\n' \
    "$2" "$2" "$2" >"$2/ca.cnf"
  openssl ca -batch -config "$2/ca.cnf" -cert "$2/ca.crt" -keyfile "$2/ca.key" -rand_serial -notext \
    -startdate "$3" -enddate "$4" -extfile "$1.ext" -in "$1.csr" -out "$1.crt"
}

make_certificates() {
  mkdir -p "$PKI/ours" "$PKI/strange" && cd "$PKI"
  cp "$STATE/pki/ca.crt" "$STATE/pki/ca.key" ours/
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -keyout strange/ca.key -out strange/ca.crt \
    -subj /CN=strange -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign
  local here="IP:127.0.0.1,IP:$IP,DNS:localhost" past=200101000000Z soon=300101000000Z
  certificate expired ours "$past" 210101000000Z "$here"
  certificate stranger strange "$past" "$soon" "$here"
  certificate renamed ours "$past" "$soon" DNS:elsewhere.test
}

if ! [ -e "$DIR/ready" ]; then
  mkdir -p "$DIR"
  make_certificates >"$STATE/log/logins-pki.log" 2>&1 || die "certificates: $(tail -n 5 "$STATE/log/logins-pki.log")"
  install -d -o postgres -g postgres -m 700 "$DIR/postgres"
  as_postgres "$bin/initdb" -D "$DIR/postgres" -U postgres --auth=reject -N >"$STATE/log/logins-initdb.log" 2>&1
  inside mariadb-install-db --no-defaults --user=root --datadir="$DIR/mariadb" --skip-test-db >"$STATE/log/logins-mariadb.log" 2>&1
  # else it turns addresses away before it says whether it offers TLS
  echo "create user if not exists someone@'%' identified by 'secret';" >"$DIR/init.sql"
  touch "$DIR/ready"
fi

for old in "$DIR/postgres/postmaster.pid" "$DIR/mariadb.pid"; do
  if [ -e "$old" ]; then
    number=$(head -n 1 "$old")
    inside kill -KILL "$number" 2>/dev/null || true
    gone() { ! inside kill -0 "$number" 2>/dev/null; }
    await 30 "the end of an earlier server" gone
    rm -f "$old"
  fi
done

printf 'local all all trust\nhost all all all %s\n' "${AUTH:-reject}" >"$DIR/postgres/pg_hba.conf"
tls=off mariadb_tls=() certificate=$KIND
[ "$KIND" != forms ] || certificate=renamed
if [ "$KIND" != plain ]; then
  tls=on mariadb_tls=(--ssl-cert="$DIR/mariadb.crt" --ssl-key="$DIR/mariadb.key")
  for end in crt key; do
    install -o postgres -g postgres -m 600 "$PKI/$certificate.$end" "$DIR/postgres/server.$end"
    cp "$PKI/$certificate.$end" "$DIR/mariadb.$end"
  done
fi
# servers with weak certificates must start, too: what is refused is for the clients to say
printf 'openssl_conf=i\n[i]\nssl_conf=s\n[s]\nsystem_default=d\n[d]\nCipherString=DEFAULT:@SECLEVEL=0\n' >"$DIR/openssl.cnf"
setsid nsenter --target="$pid" --mount --pid --net -- setpriv --reuid=postgres --regid=postgres --init-groups --reset-env \
  env OPENSSL_CONF="$DIR/openssl.cnf" "$bin/postgres" -D "$DIR/postgres" -p 5434 -c listen_addresses="127.0.0.1,$IP" -c unix_socket_directories="$DIR/postgres" \
  -c ssl=$tls -c fsync=off >"$STATE/log/logins-postgres.log" 2>&1 </dev/null 8>&- &
setsid nsenter --target="$pid" --mount --pid --net -- env OPENSSL_CONF="$DIR/openssl.cnf" mariadbd --no-defaults --user=root --datadir="$DIR/mariadb" \
  --bind-address=127.0.0.1,"$IP" --port=3307 --socket="$DIR/mariadb.socket" --pid-file="$DIR/mariadb.pid" \
  "${mariadb_tls[@]}" --init-file="$DIR/init.sql" --innodb-buffer-pool-size=16M >"$STATE/log/logins-mariadb.log" 2>&1 </dev/null 8>&- &
open() { inside bash -c "exec 3<>/dev/tcp/127.0.0.1/$1"; }
await 60 "the Postgres of log-ins" open 5434
await 60 "the MariaDB of log-ins" open 3307
