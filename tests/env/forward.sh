#!/usr/bin/env bash
# Makes a port of a test environment reachable on a free loopback port outside, until the test environment is ended; prints that port.
# Usage: forward.sh STATE PORT
set -euo pipefail
. "$(dirname "$0")/env.sh"
if [ "$1" = connect ]; then # one connection, started by socat below
  exec nsenter --net="/proc/$2/ns/net" socat STDIO "TCP:$IP:$3"
fi
STATE=$1 PORT=$2
read -r pid _ <"$STATE/process"
local_port=$((20000 + PORT))
while (exec 3<>"/dev/tcp/127.0.0.1/$local_port") 2>/dev/null; do local_port=$((local_port + 1)); done
mkdir -p "$STATE/forwards"
cd "$ENV_DIR" # socat splits its addresses at characters that a path may hold
setsid socat "TCP-LISTEN:$local_port,bind=127.0.0.1,fork,reuseaddr" "EXEC:./forward.sh connect $pid $PORT" </dev/null >"$STATE/log/forward-$PORT.log" 2>&1 &
forwarder=$!
is_open() { (exec 3<>"/dev/tcp/127.0.0.1/$local_port") 2>/dev/null; }
await 10 "port $local_port to open" is_open
process_name $forwarder >"$STATE/forwards/$PORT"
echo "$local_port"
