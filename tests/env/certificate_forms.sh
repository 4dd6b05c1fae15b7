#!/usr/bin/env bash
# Certificates of many forms for the servers of login_server.sh NAME forms. Usage: certificate_forms.sh NAME [FORM]
# Without FORM it makes them all below logins/forms: FORM.crt and FORM.key for the server, FORM.ca for the client.
# With FORM both servers have that certificate when it returns.
set -euo pipefail
. "$(dirname "$0")/env.sh"
NAME=${1:?name of the test environment} FORM=${2:-}
STATE=$STATE_ROOT/$NAME
DIR=$STATE/logins FORMS=$STATE/logins/forms
read -r pid _ <"$STATE/process"
inside() { nsenter --target="$pid" --mount --pid --net -- "$@"; }

if [ -n "$FORM" ]; then
  cd "$FORMS"
  for end in crt key; do
    install -o postgres -g postgres -m 600 "$FORM.$end" "$DIR/postgres/server.$end"
    cp "$FORM.$end" "$DIR/mariadb.$end"
  done
  inside kill -HUP "$(head -n 1 "$DIR/postgres/postmaster.pid")"
  inside mariadb --no-defaults --socket="$DIR/mariadb.socket" -u root -e 'flush ssl'
  wanted=$(openssl x509 -in "$FORM.crt" -noout -fingerprint)
  shows() {
    local shown
    shown=$(inside openssl s_client -cipher DEFAULT:@SECLEVEL=0 -starttls "$1" -connect "127.0.0.1:$2" </dev/null 2>/dev/null |
      openssl x509 -noout -fingerprint) && [ "$shown" = "$wanted" ]
  }
  await 20 "Postgres with $FORM" shows postgres 5434
  await 20 "MariaDB with $FORM" shows mysql 3307
  exit
fi

rm -rf "$FORMS"
mkdir -p "$FORMS" && cd "$FORMS"
ec=(ec -pkeyopt ec_paramgen_curve:P-256)
here="IP:127.0.0.1,DNS:localhost"
printf '[r]\ndistinguished_name=d\n[d]\n' >req.cnf

key() { openssl genpkey -algorithm "${@:2}" -out "$1.key"; } # FILE ALGORITHM...
extensions() { printf '%s\n' "${@:2}" >"$1.ext"; }            # FILE LINE...
request() { openssl req -new -config req.cnf -key "$1.key" -subj "$2" -out "$1.csr"; }
# FILE SUBJECT EXTENSION...: signed by itself
authority() {
  extensions "$1" "${@:3}"
  request "$1" "$2"
  openssl x509 -req -in "$1.csr" -signkey "$1.key" -days 3650 -extfile "$1.ext" -out "$1.crt"
}
# FILE AUTHORITY SUBJECT EXTENSION...; more options in SIGN
SIGN=()
leaf() {
  extensions "$1" "${@:4}"
  request "$1" "$3"
  openssl x509 -req -in "$1.csr" -CA "$2.crt" -CAkey "$2.key" -CAcreateserial -days 3650 -extfile "$1.ext" "${SIGN[@]}" -out "$1.crt"
  cp "$2.crt" "$1.ca"
}
CA=("basicConstraints=critical,CA:TRUE" "keyUsage=critical,keyCertSign,cRLSign")
SERVER=("subjectAltName=$here" "extendedKeyUsage=serverAuth")

make_all() {
  key root "${ec[@]}" -pkeyopt ec_param_enc:named_curve && authority root /CN=root "${CA[@]}"
  local name
  for name in good common-name other-name no-usage client-usage v1 sha1 chained unflagged constrained p521 crlf several broken empty twin \
    shortened; do
    if [ $name = p521 ]; then key p521 ec -pkeyopt ec_paramgen_curve:P-521; else key $name "${ec[@]}"; fi
  done
  leaf good root /CN=server "${SERVER[@]}"
  leaf common-name root /CN=localhost extendedKeyUsage=serverAuth
  leaf other-name root /CN=localhost subjectAltName=DNS:elsewhere.test
  leaf no-usage root /CN=server "subjectAltName=$here"
  leaf client-usage root /CN=server "subjectAltName=$here" extendedKeyUsage=clientAuth
  leaf p521 root /CN=server "${SERVER[@]}"
  SIGN=(-sha1) && leaf sha1 root /CN=server "${SERVER[@]}" && SIGN=()
  request v1 /CN=localhost
  openssl x509 -req -in v1.csr -CA root.crt -CAkey root.key -CAcreateserial -days 3650 -out v1.crt
  cp root.crt v1.ca
  key rsa RSA -pkeyopt rsa_keygen_bits:2048 && leaf rsa root /CN=server "${SERVER[@]}"
  key ed25519 ED25519 && leaf ed25519 root /CN=server "${SERVER[@]}"
  # authorities of other forms
  key v1-root "${ec[@]}" && request v1-root /CN=v1-root
  openssl x509 -req -in v1-root.csr -signkey v1-root.key -days 3650 -out v1-root.crt
  cp good.key v1-authority.key && leaf v1-authority v1-root /CN=server "${SERVER[@]}"
  key weak-root RSA -pkeyopt rsa_keygen_bits:1024 && authority weak-root /CN=weak "${CA[@]}"
  cp good.key weak-authority.key && leaf weak-authority weak-root /CN=server "${SERVER[@]}"
  key narrow-root "${ec[@]}" && authority narrow-root /CN=narrow "${CA[@]}" "nameConstraints=critical,permitted;DNS:elsewhere.test"
  leaf constrained narrow-root /CN=server subjectAltName=DNS:localhost
  # intermediate authorities, which the server sends
  key between "${ec[@]}" && leaf between root /CN=between "${CA[@]}"
  leaf chained between /CN=server "${SERVER[@]}" && cat between.crt >>chained.crt && cp root.crt chained.ca
  key flagless "${ec[@]}" && leaf flagless root /CN=flagless keyUsage=digitalSignature
  leaf unflagged flagless /CN=server "${SERVER[@]}" && cat flagless.crt >>unflagged.crt && cp root.crt unflagged.ca
  key pathless "${ec[@]}" && leaf pathless root /CN=pathless basicConstraints=critical,CA:TRUE,pathlen:0
  key deeper "${ec[@]}" && leaf deeper pathless /CN=deeper "${CA[@]}"
  leaf shortened deeper /CN=server "${SERVER[@]}" && cat deeper.crt pathless.crt >>shortened.crt && cp root.crt shortened.ca
  # an authority of the same name with another key
  key other "${ec[@]}" && authority other /CN=root "${CA[@]}"
  leaf twin root /CN=server "${SERVER[@]}" && cp other.crt twin.ca
  # signed by themselves, and trusted as they are
  key self "${ec[@]}" && authority self /CN=server "${SERVER[@]}" basicConstraints=critical,CA:FALSE && cp self.crt self.ca
  key self-authority "${ec[@]}" && authority self-authority /CN=server "${SERVER[@]}" basicConstraints=critical,CA:TRUE
  cp self-authority.crt self-authority.ca
  key self-plain "${ec[@]}" && authority self-plain /CN=server "subjectAltName=$here" && cp self-plain.crt self-plain.ca
  # dates
  dated expired 200101000000Z 210101000000Z
  dated early 400101000000Z 410101000000Z
  # files of authorities
  for name in crlf several broken empty; do leaf $name root /CN=server "${SERVER[@]}"; done
  openssl x509 -in root.crt -text | sed 's/$/\r/' >crlf.ca
  { echo "# ours"; cat other.crt; echo; cat root.crt; } >several.ca
  { cat root.crt; printf -- '-----BEGIN CERTIFICATE-----\nMIIB!!\n-----END CERTIFICATE-----\n'; } >broken.ca
  : >empty.ca
}
# NAME START END
dated() {
  key "$1" "${ec[@]}" && leaf "$1" root /CN=server "${SERVER[@]}"
  : >index
  printf '[ca]\ndefault_ca=x\n[x]\ndatabase=index\nnew_certs_dir=.\nserial=serial\ndefault_md=sha256\npolicy=p\nunique_subject=no\n[p]\ncommonName=supplied\n' >ca.cnf
  openssl ca -batch -config ca.cnf -cert root.crt -keyfile root.key -rand_serial -notext -startdate "$2" -enddate "$3" \
    -extfile "$1.ext" -in "$1.csr" -out "$1.crt"
}
set -E
exec 3>&2
trap 'tail -n 5 "$STATE/log/certificate-forms.log" >&3' ERR
make_all >"$STATE/log/certificate-forms.log" 2>&1
