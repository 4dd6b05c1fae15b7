#!/usr/bin/env bash
# Installs and builds what the test environment is made of; done in a moment where everything is there already.
# Usage: install.sh [RECIPE...]    (all recipes if none is named)
set -euo pipefail
. "$(dirname "$0")/env.sh"

PACKAGES=(containerd runc containernetworking-plugins nftables iptables iproute2 buildah jq openssl curl socat
  postgresql pgbouncer mariadb-server-core mariadb-client-core binutils build-essential util-linux ca-certificates git)

is_installed() { dpkg-query -W -f='${Status}\n' "$1" 2>/dev/null | grep -q ' installed$'; }

install_packages() { # RECIPE...
  local missing=() p
  for p in "${PACKAGES[@]}"; do is_installed "$p" || missing+=("$p"); done
  command -v java >/dev/null || missing+=(openjdk-17-jre-headless)
  for p in dynamodb postgres mysql spark; do
    command -v mvn >/dev/null || [[ " $* " != *" $p "* ]] || [ -e "$(cached $p)/.done" ] || { missing+=(maven); break; }
  done
  python3 -c 'import venv, ensurepip' 2>/dev/null || missing+=(python3 python3-venv)
  command -v go >/dev/null || missing+=(golang-go)
  command -v cargo >/dev/null || missing+=(cargo)
  install_missing "${missing[@]}"
  # An extension is packaged for one major version: that of the server that the test environment starts.
  p=$(find /usr/lib/postgresql -mindepth 2 -maxdepth 2 -name bin | sort -V | tail -n 1)
  p=postgresql-$(basename "${p%/bin}")-postgis-3
  is_installed "$p" || install_missing "$p"
}

install_missing() { # PACKAGE...
  [ $# -gt 0 ] || return 0
  say "apt: installing $*"
  command -v apt-get >/dev/null || die "not a Debian machine; install these by hand: $*"
  keep_quiet "$@"
  export DEBIAN_FRONTEND=noninteractive UCF_FORCE_CONFFOLD=1
  apt-get update -q >"$CACHE/log/apt.log" 2>&1 || die "apt-get update failed, see $CACHE/log/apt.log"
  apt-get install -q -y --no-install-recommends -o Dpkg::Options::=--force-confold "$@" >>"$CACHE/log/apt.log" 2>&1 ||
    die "apt-get install failed, see $CACHE/log/apt.log"
}

# The test environment runs servers of its own: keeps packages that are about to come from starting system-wide ones.
keep_quiet() { # PACKAGE...
  local file
  if [[ " $* " == *" postgresql "* && ! -e /etc/postgresql-common/createcluster.conf ]]; then
    mkdir -p /etc/postgresql-common
    echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.conf
  fi
  if [[ " $* " == *" pgbouncer "* ]]; then
    # the one for systemd, the other for init scripts
    file=/etc/systemd/system/pgbouncer.service
    [ -e $file ] || { mkdir -p ${file%/*} && ln -s /dev/null $file; }
    file=/etc/default/pgbouncer
    [ -e $file ] || echo 'START=0' >$file
  fi
}

check_tools() {
  local go rust want
  go=$(go env GOVERSION 2>/dev/null | sed 's/^go//')
  [ "$(printf '%s\n' 1.24 "${go:-0}" | sort -V | head -1)" = 1.24 ] ||
    die "Go 1.24 or newer is needed (found ${go:-none}): install it from go.dev/dl and put it on PATH"
  want=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$REPO/Cargo.toml")
  rust=$(cd "$REPO" && rustc --version | cut -d' ' -f2)
  [ "$(printf '%s\n' "$want" "${rust:-0}" | sort -V | head -1)" = "$want" ] ||
    die "Rust $want or newer is needed (found ${rust:-none}): install it with rustup and put it on PATH"
}

# Builds one recipe into its place in the cache, with a sign of life every 20 seconds.
build() {
  local name=$1 out log t0 beat
  out=$(cached "$name") log=$CACHE/log/$1.log
  [ ! -e "$out/.done" ] || return 0
  t0=$(date +%s)
  say "$name: building ($(sed -n '1s/^# //p' "$ENV_DIR/recipes/$name.sh")); log: $log"
  rm -rf "$out" && mkdir -p "$out"
  (while sleep 20; do say "$name: still building, $(($(date +%s) - t0))s: $(tail -n 1 "$log" | cut -c1-100)"; done) 9>&- &
  beat=$!
  if ! OUT=$out bash "$ENV_DIR/recipes/$name.sh" >"$log" 2>&1 9>&-; then
    kill "$beat"
    tail -n 20 "$log" >&2
    die "$name could not be built, see $log"
  fi
  kill "$beat"
  touch "$out/.done"
  say "$name: built in $(($(date +%s) - t0))s"
}

[ "$(id -u)" = 0 ] || die "the test environment makes namespaces and mounts: run it as root"
mkdir -p "$CACHE/log"
exec 9>"$CACHE/install.lock"
flock -n 9 || { say "waiting for another install to end"; flock 9; }
[ $# -gt 0 ] || set -- python dynamodb etcd helm pause runtime coredns kubernetes
install_packages "$@"
check_tools
for name in "$@"; do build "$name"; done
