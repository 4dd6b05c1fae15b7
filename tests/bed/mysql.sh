#!/usr/bin/env bash
# Starts another release of MySQL or MariaDB in the bed NAME, unless it runs already, and prints its port. It has the
# certificate and the accounts of the bed's own, and ends with the bed.
# Usage: mysql.sh NAME VERSION    (mysql-8.0, mysql-9.7, mariadb-11.8)
set -euo pipefail
. "$(dirname "$0")/env.sh"
. "$BED_DIR/databases.sh"
NAME=${1:?name of the bed} VERSION=${2:?version}
STATE=$STATE_ROOT/$NAME PKI=$STATE_ROOT/$NAME/pki
digits=${VERSION//[!0-9]/}
PORT=$((31000 + digits))
read -r pid _ <"$STATE/process"
exec 8>"$STATE/$VERSION.lock"
flock 8

inside() { nsenter --target="$pid" --mount --pid --net -- "$@"; }
mariadb() { inside mariadb "$@"; }

if ! mysql_answers $PORT "$VERSION" >/dev/null 2>&1; then
  "$BED_DIR/install.sh" mysql 8>&-
  rm -rf "$STATE/$VERSION"
  mysql_program "$VERSION"
  mysql_initialize "$VERSION" "$STATE/$VERSION" >"$STATE/log/$VERSION-install.log" 2>&1 ||
    die "the server's files could not be made: $(tail -n 5 "$STATE/log/$VERSION-install.log")"
  mysql_options "$VERSION" "$STATE/$VERSION" $PORT
  setsid nsenter --target="$pid" --mount --pid --net -- "${MYSQLD[@]}" >"$STATE/log/$VERSION.log" 2>&1 </dev/null 8>&- &
  await 60 "$VERSION" mysql_answers $PORT "$VERSION"
fi
echo $PORT
