# Kubernetes' six programs from the Go module proxy, 5-7 minutes on 2 cores
set -euo pipefail
VERSION=1.34.4
SRC=$(mktemp -d) && trap 'rm -rf "$SRC"' EXIT
cd "$SRC" && go mod init bed/kubernetes
# In its own repository Kubernetes replaces these modules by folders; each is published as v0.x too.
dir=$(go mod download -json "k8s.io/kubernetes@v$VERSION" | jq -r .Dir)
for module in $(go mod edit -json "$dir/go.mod" | jq -r '.Replace[].Old.Path'); do
  go mod edit -replace "$module=$module@v0.${VERSION#1.}"
done
# The version stands on each program, or a newer one is taken.
go get -tool $(printf "k8s.io/kubernetes/cmd/%s@v$VERSION " kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy kubectl)
CGO_ENABLED=0 go build -o "$OUT/" -ldflags "-s -w
  -X k8s.io/component-base/version.gitVersion=v$VERSION -X k8s.io/client-go/pkg/version.gitVersion=v$VERSION" tool
