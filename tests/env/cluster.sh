# The cluster's programs and their settings. Sourced by inner.sh, which has STATE, PKI and `start`.

K8S=$(cached kubernetes) CGROUP=$(env_cgroup "$NAME")
kubectl() { "$K8S/kubectl" --kubeconfig "$STATE/kubeconfig" "$@"; }

start_bridge() { ip link add tm0 type bridge && ip addr add "$IP/24" dev tm0 && ip link set tm0 up; }

start_containerd() {
  mkdir -p "$STATE/cni"
  cat >"$STATE/cni/10-env.conflist" <<C
{"cniVersion": "0.4.0", "name": "env", "plugins": [{"type": "bridge", "bridge": "tm0",
  "isGateway": true, "ipMasq": false, "hairpinMode": true,
  "ipam": {"type": "host-local", "dataDir": "$STATE/ipam", "ranges": [[{"subnet": "$PODS"}]], "routes": [{"dst": "0.0.0.0/0"}]}}]}
C
  # restrict_oom_score_adj: without it no pod starts where this process may not lower its own score.
  cat >"$STATE/containerd.toml" <<C
version = 2
root = "$STATE/containerd/root"
state = "$STATE/containerd/state"
[grpc]
  address = "$STATE/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "$STATE/containerd/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "$PAUSE_IMAGE"
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$STATE/cni"
C
  start containerd containerd -c "$STATE/containerd.toml"
}

start_control_plane() {
  start etcd "$(cached etcd)/etcd" --name env --data-dir "$STATE/etcd" --unsafe-no-fsync --log-level warn \
    --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
    --listen-peer-urls http://127.0.0.1:2380 --initial-advertise-peer-urls http://127.0.0.1:2380 --initial-cluster env=http://127.0.0.1:2380
  # The kubelet client certificate is what `kubectl logs` needs.
  start apiserver "$K8S/kube-apiserver" --etcd-servers=http://127.0.0.1:2379 \
    --bind-address=$IP --secure-port=$API_PORT --advertise-address=$IP --cert-dir="$STATE/apiserver" \
    --authorization-mode=Node,RBAC --service-cluster-ip-range=$SERVICES --kubelet-preferred-address-types=InternalIP \
    --client-ca-file="$PKI/ca.crt" --tls-cert-file="$PKI/apiserver.crt" --tls-private-key-file="$PKI/apiserver.key" \
    --kubelet-client-certificate="$PKI/admin.crt" --kubelet-client-key="$PKI/admin.key" --kubelet-certificate-authority="$PKI/ca.crt" \
    --service-account-issuer=https://kubernetes.default.svc.cluster.local \
    --service-account-key-file="$PKI/serviceaccounts.pub" --service-account-signing-key-file="$PKI/serviceaccounts.key"
  # A short list of controllers brings the first ServiceAccount from 4 s down to 1 s.
  local controllers=serviceaccount-token-controller,serviceaccount-controller,root-ca-certificate-publisher-controller
  controllers+=,job-controller,cronjob-controller,garbage-collector-controller,namespace-controller,resourcequota-controller
  controllers+=,deployment-controller,replicaset-controller,endpoints-controller,endpointslice-controller
  controllers+=,node-lifecycle-controller,pod-garbage-collector-controller,taint-eviction-controller,disruption-controller
  controllers+=,ttl-after-finished-controller,clusterrole-aggregation-controller
  start controller-manager "$K8S/kube-controller-manager" --kubeconfig="$PKI/controller-manager.conf" --controllers=$controllers \
    --use-service-account-credentials --leader-elect=false --bind-address=127.0.0.1 --service-cluster-ip-range=$SERVICES \
    --root-ca-file="$PKI/ca.crt" --service-account-private-key-file="$PKI/serviceaccounts.key"
  start scheduler "$K8S/kube-scheduler" --kubeconfig="$PKI/scheduler.conf" --leader-elect=false --bind-address=127.0.0.1
}

# Only after the API server is ready: a node that registers too early may never become Ready.
start_node() {
  cat >"$STATE/kubelet.yaml" <<C
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: $IP
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $PKI/ca.crt}}
authorization: {mode: Webhook}
tlsCertFile: $PKI/kubelet.crt
tlsPrivateKeyFile: $PKI/kubelet.key
failCgroupV1: false
cgroupDriver: cgroupfs
cgroupRoot: /$CGROUP
failSwapOn: false
resolvConf: ""
clusterDNS: [$IP]
clusterDomain: cluster.local
containerRuntimeEndpoint: unix://$STATE/containerd.sock
evictionHard: {memory.available: 100Mi, nodefs.available: 1%, imagefs.available: 1%, nodefs.inodesFree: 1%}
imageGCHighThresholdPercent: 100
makeIPTablesUtilChains: false
podLogsDir: $STATE/log/pods
volumePluginDir: $STATE/volumeplugins
serializeImagePulls: false
C
  start kubelet "$K8S/kubelet" --config="$STATE/kubelet.yaml" --kubeconfig="$PKI/kubelet.conf" --root-dir="$STATE/kubelet" \
    --node-ip=$IP --hostname-override=node1
  cat >"$STATE/proxy.yaml" <<C
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
hostnameOverride: node1
bindAddress: $IP
healthzBindAddress: 127.0.0.1:10256
metricsBindAddress: 127.0.0.1:10249
clientConnection: {kubeconfig: $PKI/proxy.conf}
clusterCIDR: $PODS
conntrack: {maxPerCore: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
C
  kubectl apply -f "$ENV_DIR/cluster.yaml"
  start proxy "$K8S/kube-proxy" --config="$STATE/proxy.yaml"
  start_dns
}

start_dns() {
  # A block for each zone: plugins run in a fixed order, where `template` would answer before `kubernetes`.
  cat >"$STATE/Corefile" <<C
cluster.local {
  bind $IP
  errors
  ready 127.0.0.1:8181
  kubernetes cluster.local {
    kubeconfig $PKI/coredns.conf
    ttl 0
  }
}
test {
  bind $IP
  errors
  template IN A test {
    match ^([^.]+[.])?(postgres|s3|dynamodb)[.]test[.]$
    answer "{{ .Name }} 5 IN A $IP"
    fallthrough
  }
  template ANY AAAA test {
    match ^([^.]+[.])?(postgres|s3|dynamodb)[.]test[.]$
    rcode NOERROR
    fallthrough
  }
  template ANY ANY test {
    rcode NXDOMAIN
  }
}
. {
  bind $IP
  errors
  template ANY ANY {
    rcode NXDOMAIN
  }
}
C
  start coredns "$(cached coredns)/coredns" -conf "$STATE/Corefile"
}

node_is_ready() { kubectl get node node1 -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}' | grep -x True; }
api_is_ready() { curl -sS --cacert "$PKI/ca.crt" --cert "$PKI/admin.crt" --key "$PKI/admin.key" "https://$IP:$API_PORT/readyz" | grep -x ok; }
