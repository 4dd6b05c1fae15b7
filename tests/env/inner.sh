#!/usr/bin/env bash
# Process 1 of a test environment: boots every part, then stays. Everything it starts, mounts and configures ends with it.
# Usage: inner.sh NAME STATE, inside the namespaces that up.sh makes.
# TIDEMARK_ENV_PARTS=stores leaves the cluster out: databases, S3 and DynamoDB alone, for tests that start no pod.
set -euo pipefail
. "$(dirname "$0")/env.sh"
NAME=$1 STATE=$2 PKI=$2/pki
T0=$(date +%s%N)
step() { printf '  %5.1fs %s\n' "$((($(date +%s%N) - T0) / 1000000))e-3" "$*"; }

PARTS=()
start() { # PART COMMAND...
  local part=$1; shift
  "$@" >"$STATE/log/$part.log" 2>&1 </dev/null &
  PARTS[$!]=$part
  echo $! >"$STATE/parts/$part"
}
. "$ENV_DIR/cluster.sh"
. "$ENV_DIR/stores.sh"

prepare_host() {
  local dir setting hierarchy file
  ip link set lo up
  # Fixed paths that the node's programs insist on; the made ones are removed with the last test environment.
  for dir in /run/containerd /var/lib/cni /var/lib/kubelet /var/log/containers /usr/libexec/kubernetes; do
    [ -d $dir ] || { mkdir -p $dir && echo $dir >>"$STATE/../made"; }
    mount -t tmpfs env $dir
  done
  # A /tmp of its own, where the S3 server puts sockets of fixed names; what the test environment is made of stays in sight.
  for dir in "$ENV_DIR" "$CACHE" "$STATE_ROOT"; do
    [[ $dir != /tmp/* ]] || { mkdir -p "$STATE$dir" && mount --rbind "$dir" "$STATE$dir"; }
  done
  mkdir -p "$STATE/tmp" && chmod 1777 "$STATE/tmp" && mount --rbind "$STATE/tmp" /tmp
  # Settings of the whole machine that the kubelet would write.
  for setting in kernel/panic=10 kernel/panic_on_oops=1 vm/overcommit_memory=1; do
    file=$STATE/sysctl-${setting##*/}
    echo "${setting#*=}" >"$file" && mount --bind "$file" "/proc/sys/${setting%=*}"
  done
  if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
    sed 's/[^ ]*/+&/g' /sys/fs/cgroup/cgroup.controllers >/sys/fs/cgroup/cgroup.subtree_control
    mkdir -p "/sys/fs/cgroup/$CGROUP"
  else
    for hierarchy in /sys/fs/cgroup/*/; do mkdir -p "$hierarchy$CGROUP"; done
  fi
}

await_cluster() {
  await 60 "the API server" api_is_ready && step "API server ready"
  start_node >"$STATE/log/apply.log"
  await 30 containerd ctr -a "$STATE/containerd.sock" version
  ctr -a "$STATE/containerd.sock" -n k8s.io images import "$(cached pause)/image.tar" >/dev/null
  await 60 "DNS" curl -sS -f -o /dev/null http://127.0.0.1:8181/ready
  await 60 "the node" node_is_ready && step "node ready"
  # A Ready node takes no pod yet: the account comes later.
  await 60 "the default ServiceAccount" kubectl get serviceaccount default && step "ready for pods"
}

mkdir -p "$STATE/log" "$STATE/parts"
mkdir "$STATE/tools" # the way to them for tests, which know no hashes
ln -s "$K8S/kubectl" "$(cached helm)/helm" "$(cached python)/bin/weed" "$STATE/tools/"
ln -s "$(cached python)" "$STATE/venv"
"$ENV_DIR/pki.sh" "$STATE" >"$STATE/log/pki.log" 2>&1
step "certificates made"
prepare_host
start_bridge
[ "${TIDEMARK_ENV_PARTS:-}" = stores ] || { start_containerd && start_control_plane; }
start_s3
start_dynamodb
start_postgres
start_mariadb
await 30 Postgres postgres_is_ready && step "Postgres ready"
await 30 MariaDB mariadb_is_ready && step "MariaDB ready"
await 60 DynamoDB dynamodb_is_ready && step "DynamoDB ready"
await 60 "the S3 server to take a write" s3_is_ready && step "S3 ready"
[ "${TIDEMARK_ENV_PARTS:-}" = stores ] || await_cluster
touch "$STATE/ready"

# Stays, reaps all orphaned processes in here, and says which part ended.
while true; do
  ended=0 code=0
  wait -n -p ended || code=$?
  [ "${ended:-0}" = 0 ] && { sleep infinity & continue; }
  step "${PARTS[$ended]:-a process} (pid $ended) ended with code $code"
done
