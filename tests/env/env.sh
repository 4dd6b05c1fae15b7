# Names, paths and small helpers of the test environment. Sourced by every script of this directory, never run.

ENV_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
REPO=$(cd "$ENV_DIR/../.." && pwd)
CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/tidemark
# Not under $HOME: Postgres runs as a user of its own, and a home folder is usually closed to it.
STATE_ROOT=${TIDEMARK_STATE:-/var/tmp/tidemark-$(id -u)}

# The test environment has a network namespace to itself, so every test environment uses the same addresses and ports.
IP=198.18.0.1 PODS=198.18.0.0/24 SERVICES=198.19.0.0/24 SERVICE_IP=198.19.0.1
API_PORT=6443 POSTGRES_PORT=5432 MARIADB_PORT=3306 S3_PORT=8333 DYNAMODB_PORT=8000
PAUSE_IMAGE=localhost/tidemark-pause:1

# Where a recipe's result is kept: its name and a hash of the recipe, so an edited one is built anew.
cached() { printf '%s/%s-%s' "$CACHE" "$1" "$(cat "$ENV_DIR/recipes/$1.sh" "$ENV_DIR/recipes/$1"/* 2>/dev/null | sha256sum | cut -c1-12)"; }

# The releases that a test environment starts. The installed Postgres is the one of the machine's Debian.
installed_postgres() { find /usr/lib/postgresql -mindepth 2 -maxdepth 2 -name bin 2>/dev/null | sort -V | tail -n 1 | cut -d/ -f5; }
postgres_release() { echo "${TIDEMARK_POSTGRES:-$(installed_postgres)}"; }
MYSQL=${TIDEMARK_MYSQL:-mariadb-10.11}

# Memory in MiB in which each database server keeps pages. Without it the servers are small; `make bench` sets it.
DATABASE_MIB=${TIDEMARK_DATABASE_MIB:-}

# The control group of a test environment: test environments of one name under two state roots are two test environments.
env_cgroup() { printf 'tm-%s-%s\n' "$1" "$(printf %s "$STATE_ROOT" | cksum | cut -d' ' -f1)"; }

# What a running test environment was booted from.
env_hash() { { find "$ENV_DIR" -type f | LC_ALL=C sort | xargs cat; echo "${TIDEMARK_ENV_PARTS:-} $(postgres_release) $MYSQL $DATABASE_MIB"; } | sha256sum | cut -c1-16; }

say() { printf '[%4ds] %s\n' "$(($(date +%s) - ${TIDEMARK_T0:-$(date +%s)}))" "$*" >&2; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }
export TIDEMARK_T0=${TIDEMARK_T0:-$(date +%s)}

# await SECONDS WHAT COMMAND...: tries the command until it works; says what it waited for if it never does.
await() {
  local end=$(($(date +%s) + $1)) what=$2 last; shift 2
  until last=$("$@" 2>&1); do
    (($(date +%s) < end)) || die "gave up waiting for $what; last answer: ${last:-none}"
    sleep 0.1
  done
}

# One start or stop of a test environment at a time, on file descriptor 9. The file goes with its test environment, so check whether it is still the same file.
lock_env() {
  local file=$STATE_ROOT/$1.lock
  while true; do
    exec 9>"$file"
    flock -n 9 || { say "test environment $1: waiting for another start or stop to end"; flock 9; }
    [ ! "$file" -ef /proc/self/fd/9 ] || return 0
  done
}

# A process is named by pid, start time and boot: a pid alone may be somebody else's by now.
process_name() { printf '%s %s %s\n' "$1" "$(sed 's/.*) //' "/proc/$1/stat" | cut -d' ' -f20)" "$(cat /proc/sys/kernel/random/boot_id)"; }
process_is_alive() { # FILE holding a process name
  local pid; read -r pid _ 2>/dev/null <"$1" || return 1
  [ "$(process_name "$pid" 2>/dev/null)" = "$(cat "$1")" ] && ! grep -q '^State:[[:space:]]*Z' "/proc/$pid/status" 2>/dev/null
}
# Ends the process that FILE names, if it still is that process, and waits until it is gone.
end_process() {
  process_is_alive "$1" || return 0
  local pid; read -r pid _ <"$1"
  kill -KILL "$pid" 2>/dev/null || true
  is_gone() { ! process_is_alive "$1"; }
  await 20 "process $pid to end" is_gone "$1"
}
