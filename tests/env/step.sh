#!/usr/bin/env bash
# Runs a step of the Makefile and says when it began and how long it took. Usage: step.sh TITLE COMMAND...
set -euo pipefail
. "$(dirname "$0")/env.sh"
title=$1 began=$(date +%s); shift
say "$title ..."
if "$@"; then
  say "$title: done in $(($(date +%s) - began))s"
else
  code=$?
  say "$title: FAILED after $(($(date +%s) - began))s: $*"
  exit $code
fi
