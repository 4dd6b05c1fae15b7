#!/usr/bin/env bash
# The core packages stay pure: their dependency trees contain no runtime, client or driver.
set -euo pipefail
banned='tokio|hyper|kube-client|kube-runtime|sqlx|sqlx-core|aws-sdk-.*|aws-config|reqwest'
for package in worker-core operator-core; do
  tree=$(cargo tree --locked --package "$package" --edges normal --prefix none --format '{p}')
  if found=$(cut -d' ' -f1 <<<"$tree" | grep -xE "$banned" | sort -u); then
    printf 'error: %s must be pure, but depends on:\n%s\n' "$package" "$found" >&2
    exit 1
  fi
done
