#!/usr/bin/env bash
# The test environment's certificate authority, every certificate under it, and a kubeconfig for each client. Usage: pki.sh STATE
set -euo pipefail
. "$(dirname "$0")/env.sh"
STATE=$1 PKI=$1/pki
mkdir -p "$PKI" && cd "$PKI"
ec=(-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes)

openssl req -x509 "${ec[@]}" -days 3650 -keyout ca.key -out ca.crt -subj /CN=tidemark-env \
  -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign

certificate() { # NAME SUBJECT ALTERNATIVE-NAMES USAGE
  openssl req "${ec[@]}" -keyout "$1.key" -out "$1.csr" -subj "$2"
  printf '%sextendedKeyUsage=%s\n' "${3:+subjectAltName=$3$'\n'}" "$4" >"$1.ext"
  openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 3650 -extfile "$1.ext" -out "$1.crt"
}
certificate apiserver /CN=kube-apiserver "IP:127.0.0.1,IP:$SERVICE_IP,IP:$IP,DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local" serverAuth
certificate kubelet /O=system:nodes/CN=system:node:node1 "IP:$IP,DNS:node1" serverAuth,clientAuth
certificate postgres /CN=postgres "IP:127.0.0.1,IP:$IP,DNS:localhost,DNS:postgres.test" serverAuth
certificate mariadb /CN=mariadb "IP:127.0.0.1,IP:$IP,DNS:localhost,DNS:mariadb.test" serverAuth
certificate admin /O=system:masters/CN=admin "" clientAuth
certificate controller-manager /CN=system:kube-controller-manager "" clientAuth
certificate scheduler /CN=system:kube-scheduler "" clientAuth
certificate proxy /CN=system:kube-proxy "" clientAuth
certificate coredns /CN=coredns "" clientAuth
openssl ecparam -name prime256v1 -genkey -noout -out serviceaccounts.key
openssl ec -in serviceaccounts.key -pubout -out serviceaccounts.pub

kubeconfig() { # FILE CLIENT SERVER
  cat >"$1" <<K
apiVersion: v1
kind: Config
clusters: [{name: env, cluster: {server: "$3", certificate-authority: $PKI/ca.crt}}]
users: [{name: $2, user: {client-certificate: $PKI/$2.crt, client-key: $PKI/$2.key}}]
contexts: [{name: env, context: {cluster: env, user: $2}}]
current-context: env
K
}
for client in kubelet controller-manager scheduler proxy coredns; do kubeconfig "$PKI/$client.conf" "$client" "https://$IP:$API_PORT"; done
kubeconfig "$STATE/kubeconfig" admin "https://$IP:$API_PORT"
