#!/usr/bin/env bash
# Starts another release of MySQL or MariaDB in the test environment NAME, unless it runs already, and prints its port. It has the
# certificate and the accounts of the test environment's own, and ends with the test environment.
# Usage: mysql.sh NAME VERSION [apart]    (mysql-8.0, mysql-9.7, mariadb-10.11, mariadb-11.8)
#   apart  a second server of that release, for a test that changes settings of the whole server
set -euo pipefail
. "$(dirname "$0")/env.sh"
. "$ENV_DIR/databases.sh"
NAME=${1:?name of the test environment} VERSION=${2:?version}
STATE=$STATE_ROOT/$NAME PKI=$STATE_ROOT/$NAME/pki
digits=${VERSION//[!0-9]/} SERVER=$VERSION${3:+-$3}
PORT=$((${3:+1000 + }31000 + digits))
read -r pid _ <"$STATE/process"
exec 8>"$STATE/$SERVER.lock"
flock 8

inside() { nsenter --target="$pid" --mount --pid --net -- "$@"; }
mariadb() { inside mariadb "$@"; }

if ! mysql_answers $PORT "$VERSION" >/dev/null 2>&1; then
  "$ENV_DIR/install.sh" mysql 8>&-
  rm -rf "${STATE:?}/$SERVER"
  mysql_program "$VERSION"
  mysql_initialize "$VERSION" "$STATE/$SERVER" >"$STATE/log/$SERVER-install.log" 2>&1 ||
    die "the server's files could not be made: $(tail -n 5 "$STATE/log/$SERVER-install.log")"
  mysql_options "$VERSION" "$STATE/$SERVER" $PORT
  setsid nsenter --target="$pid" --mount --pid --net -- "${MYSQLD[@]}" >"$STATE/log/$SERVER.log" 2>&1 </dev/null 8>&- &
  await 60 "$SERVER" mysql_answers $PORT "$VERSION"
fi
echo $PORT
