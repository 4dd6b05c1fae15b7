#!/usr/bin/env bash
# Builds the product's images from the binaries in FOLDER and imports them into a test environment; does nothing where they are there.
# Usage: images.sh STATE FOLDER    STATE is what up.sh printed, FOLDER e.g. $CARGO_TARGET_DIR/debug
#        images.sh build FOLDER    builds only, and prints the archives' paths
set -euo pipefail
. "$(dirname "$0")/env.sh"
STATE=${1:?state folder of a test environment, or "build"} FOLDER=${2:?folder with the binaries}
KEPT=4 # archives of each image
STORE=(buildah --storage-driver vfs --root "$CACHE/buildah/root" --runroot "$CACHE/buildah/run")
RUNTIME=localhost/tidemark-runtime:$(basename "$(cached runtime)" | sed 's/.*-//')

mkdir -p "$CACHE/images"
exec 9>"$CACHE/images/lock"
flock 9

make_runtime() {
  "${STORE[@]}" inspect --type image "$RUNTIME" >/dev/null 2>&1 && return
  "$ENV_DIR/install.sh" runtime
  printf 'FROM scratch\nCOPY . /\nUSER 65532:65532\n' |
    "${STORE[@]}" bud --isolation chroot --pull-never -q -t "$RUNTIME" -f - "$(cached runtime)/root" >/dev/null
}

# image TARGET TAG BINARY: prints the path of its archive.
image() {
  local target=$1 tag=$2 binary=$FOLDER/$3 archive context
  [ -x "$binary" ] || die "$binary is missing: run \`make build\`"
  archive=$CACHE/images/$target-$(cat "$binary" "$REPO/Dockerfile" "$(cached runtime)/.done" <(echo "$RUNTIME") | sha256sum | cut -c1-16).tar
  if [ ! -e "$archive" ]; then
    say "image $tag: building"
    make_runtime
    context=$(mktemp -d)
    mkdir "$context/out"
    strip --strip-debug -o "$context/out/$3" "$binary"
    "${STORE[@]}" bud --isolation chroot --pull-never -q --build-arg RUNTIME="$RUNTIME" --build-context build="$context" \
      --target "$target" -t "$tag" -f "$REPO/Dockerfile" "$context" >/dev/null
    "${STORE[@]}" push -q "$tag" "docker-archive:$archive.part:$tag" >&2
    "${STORE[@]}" rmi "$tag" >/dev/null
    mv "$archive.part" "$archive"
    rm -rf "$context"
    say "image $tag: built, $(du -h "$archive" | cut -f1)"
  fi
  touch "$archive"
  find "$CACHE/images" -name "$target-*.tar" -printf '%T@ %p\n' | sort -rn | tail -n +$((KEPT + 1)) | cut -d' ' -f2- | xargs -r rm
  echo "$archive"
}

for archive in "$(image operator localhost/tidemark-operator:dev tidemark-operator)" "$(image worker localhost/tidemark:dev tidemark)"; do
  [ -n "$archive" ] || exit 1
  if [ "$STATE" = build ]; then echo "$archive" && continue; fi
  mark=$STATE/images/$(basename "$archive" .tar)
  [ ! -e "$mark" ] || continue
  ctr -a "$STATE/containerd.sock" -n k8s.io images import "$archive" >&2
  # One mark for each tag: an older archive that comes back must be imported again.
  mkdir -p "$STATE/images" && rm -f "${mark%-*}"-* && touch "$mark"
done
