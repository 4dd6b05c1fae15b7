# the base folder of the product's images, from Debian packages, 5 seconds
set -euo pipefail
SRC=$(mktemp -d) && trap 'rm -rf "$SRC"' EXIT
# What distroless/cc holds. `apt-get download` runs as a user of its own, who must be able to write here.
chmod 777 "$SRC" && cd "$SRC"
apt-get download libc6 libgcc-s1 ca-certificates tzdata
for deb in *.deb; do dpkg-deb -x "$deb" all; done
root=$OUT/root
mkdir -p "$root"/{etc/ssl/certs,tmp,home/nonroot,usr/share,usr/lib}
chmod 1777 "$root/tmp" && chown 65532:65532 "$root/home/nonroot"
cp -a all/lib all/lib64 "$root/"
cp -a all/usr/lib/. "$root/usr/lib/"
cp -a all/usr/share/zoneinfo "$root/usr/share/"
rm -rf "$root"/usr/lib/*/gconv "$root"/usr/lib/*/audit
# The package's own list, not this machine's bundle: that one may hold private authorities.
cat all/usr/share/ca-certificates/mozilla/*.crt >"$root/etc/ssl/certs/ca-certificates.crt"
printf 'root:x:0:0:root:/:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n' >"$root/etc/passwd"
printf 'root:x:0:\nnonroot:x:65532:\n' >"$root/etc/group"
printf 'hosts: files dns\n' >"$root/etc/nsswitch.conf"
