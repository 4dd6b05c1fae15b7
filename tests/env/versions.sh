#!/usr/bin/env bash
# Runs the suites of databases against every supported release, and writes docs/versions.md from what they say.
# Usage: versions.sh [RELEASE...]    (postgres-14 ... postgres-18, mysql-8.0, mysql-9.7, mariadb-10.11, mariadb-11.8)
# The rows of releases that are not named stay as they are, and with TIDEMARK_VERSION_SUITES="SUITE..." the cells of other
# suites.
set -euo pipefail
. "$(dirname "$0")/env.sh"
ALL=(postgres-14 postgres-15 postgres-16 postgres-17 postgres-18 mysql-8.0 mysql-9.7 mariadb-10.11 mariadb-11.8)
SUITES=(types partitions edges selections faults consistency)
# Of the fault tests, those of databases.
FAULTS=(database:: logins:: silent_mysql:: snapshots:: tokens:: poolers::)
PAGE=$REPO/docs/versions.md
LOGS=${TIDEMARK_VERSION_LOGS:-$CACHE/log}
export TIDEMARK_ENV_PARTS=stores

# The exact version of the server that the test environment runs.
version() { # RELEASE STATE
  case $1 in
  postgres-*) cat "$2/postgres/PG_VERSION" >/dev/null && sed -n 's/.*starting PostgreSQL \([0-9.]*\).*/\1/p' "$2/log/postgres.log" | head -n 1 ;;
  *) sed -n "s/^.*[Vv]ersion: '\([^']*\)'.*/\1/p" "$2/log/mariadb.log" | head -n 1 ;;
  esac
}

# Prints "PASSED of TESTS", with how many of them do not concern this release.
suite() { # RELEASE SUITE
  local log=$LOGS/versions-$1-$2.log filter=()
  [ "$2" != faults ] || filter=("${FAULTS[@]}")
  (cd "$REPO" && cargo test --locked --workspace --test "$2" -- --nocapture "${filter[@]}") >"$log" 2>&1 || true
  local passed failed none
  none=$(grep -c '^not on this release: ' "$log" || true)
  read -r passed failed < <(sed -n 's/^test result: .* \([0-9]*\) passed; \([0-9]*\) failed;.*/\1 \2/p' "$log" | awk '{ p += $1; f += $2 } END { print p + 0, f + 0 }')
  if ((passed + failed == 0)); then echo 'did not run'; return; fi
  printf '%d of %d' "$((passed - none))" "$((passed + failed - none))"
  ((failed == 0)) || say "$1 $2: $failed failed, see $log"
}

# A cell of the page as it is.
written() { # RELEASE SUITE
  local at; for at in "${!SUITES[@]}"; do [ "${SUITES[at]}" = "$2" ] && break; done
  grep "^| $1 |" "$PAGE" | cut -d'|' -f$((at + 4)) | xargs
}

row() { # RELEASE
  local state cells=() suite
  case $1 in
  postgres-*) export TIDEMARK_POSTGRES=${1#postgres-}; unset TIDEMARK_MYSQL ;;
  *) export TIDEMARK_MYSQL=$1; unset TIDEMARK_POSTGRES ;;
  esac
  "$ENV_DIR/down.sh" test >&2
  state=$("$ENV_DIR/up.sh" test | tail -n 1)
  for suite in "${SUITES[@]}"; do
    [[ " ${TIDEMARK_VERSION_SUITES:-${SUITES[*]}} " == *" $suite "* ]] || { cells+=("$(written "$1" "$suite")"); continue; }
    say "$1: $suite"
    cells+=("$(suite "$1" "$suite")")
  done
  printf '| %s | %s' "$1" "$(version "$1" "$state")"
  printf ' | %s' "${cells[@]}"
  echo ' |'
}

[ $# -gt 0 ] || set -- "${ALL[@]}"
declare -A ran
for release in "${ALL[@]}"; do
  [[ " $* " != *" $release "* ]] || ran[$release]=$(row "$release")
done
"$ENV_DIR/down.sh" test >&2
# as the page is by now: others may have run other releases meanwhile
exec 7>"$CACHE/versions.lock"
flock 7
rows=()
for release in "${ALL[@]}"; do
  rows+=("${ran[$release]:-$(grep "^| $release |" "$PAGE" 2>/dev/null || true)}")
done
{
  cat <<'C'
# Supported releases

`make test-versions` runs these suites against every supported release and writes this page. A cell shows how many of
the tests that apply to the release passed. For example, a test of a MariaDB feature does not apply to MySQL, and a test
of PostGIS does not apply to a server without it. `make test` runs all suites against Postgres 15 and MariaDB 10.11, and
a smaller set against the oldest and newest release of each engine.

C
  printf '| release | server |'; printf ' %s |' "${SUITES[@]}"; echo
  printf '|---|---|'; printf -- '---|%.0s' "${SUITES[@]}"; echo
  printf '%s\n' "${rows[@]}" | grep . || true
} >"$PAGE.new"
mv "$PAGE.new" "$PAGE"
cat "$PAGE" >&2
# fails where one test did
! grep '^| [a-z]*-[0-9.]* |' "$PAGE" | grep -oE '[0-9]+ of [0-9]+|did not run' | awk '$1 != $3' | grep -q .
