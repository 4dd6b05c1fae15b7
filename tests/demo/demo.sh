#!/usr/bin/env bash
# Starts a cluster with Tidemark and runs one extract. `make demo-down` removes the cluster.
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
. "$HERE/../env/env.sh"

STATE=$("$ENV_DIR/up.sh" demo)
read -r PID _ <"$STATE/process"
inside() { nsenter --net="/proc/$PID/ns/net" "$@"; }
kubectl() { inside "$STATE/tools/kubectl" --kubeconfig "$STATE/kubeconfig" "$@"; }
helm() { HELM_CACHE_HOME=$STATE/helm HELM_CONFIG_HOME=$STATE/helm HELM_DATA_HOME=$STATE/helm inside "$STATE/tools/helm" --kubeconfig "$STATE/kubeconfig" "$@"; }
python() { inside "$STATE/venv/bin/python" "$@"; }
psql() { inside env PGSSLROOTCERT="$STATE/pki/ca.crt" PGSSLMODE=verify-full PGPASSWORD=secret psql -h "$IP" -U postgres -v ON_ERROR_STOP=1 -Xq "$@"; }
title() { printf '\n== %s\n' "$*"; }

"$ENV_DIR/images.sh" "$STATE" "${CARGO_TARGET_DIR:-$CACHE/target}/debug"
say "database shop: 200000 orders"
psql -d postgres -c 'create database shop'
psql -d shop -f "$HERE/shop.sql"
say "bucket lake, tracking table tidemark"
python "$HERE/stores.py" prepare
say "charts"
kubectl apply -f "$HERE/namespace.yaml" >/dev/null
kubectl -n demo create configmap postgres-ca --from-file="$STATE/pki/ca.crt" >/dev/null
helm install tidemark-crds "$REPO/charts/tidemark-crds" -n tidemark --wait --timeout 60s >/dev/null
helm install tidemark "$REPO/charts/tidemark" -n tidemark -f "$HERE/values.yaml" --wait --timeout 120s >/dev/null
say "ExtractJob orders"
kubectl -n demo apply -f "$HERE/extractjob.yaml" >/dev/null
if ! kubectl -n demo wait --for=condition=Complete extractjob/orders --timeout=180s >/dev/null; then
  kubectl -n demo describe extractjob orders
  kubectl -n demo get pods,jobs
  kubectl -n tidemark logs deployment/tidemark --tail=20 || true
  die "the extract did not complete; the demo stays up to look at: $STATE"
fi

title "kubectl -n demo get extractjob"
kubectl -n demo get extractjob
title "the tracking item shop.public.orders"
python "$HERE/stores.py" item shop.public.orders
title "objects"
python "$HERE/stores.py" fetch "$STATE/parquet"
title "the Parquet files, read by duckdb"
python "$ENV_DIR/read_parquet.py" table "$STATE/parquet" 'select count(*) as row_count, count(distinct id) as ids, sum(amount) as amount from t'
python "$ENV_DIR/read_parquet.py" table "$STATE/parquet" 'select * from t order by id limit 5'

api=$("$ENV_DIR/forward.sh" "$STATE" $API_PORT)
s3=$("$ENV_DIR/forward.sh" "$STATE" $S3_PORT)
dynamodb=$("$ENV_DIR/forward.sh" "$STATE" $DYNAMODB_PORT)
postgres=$("$ENV_DIR/forward.sh" "$STATE" $POSTGRES_PORT)
sed "s#https://$IP:$API_PORT#https://127.0.0.1:$api#" "$STATE/kubeconfig" >"$STATE/kubeconfig.local"
title "look further (make demo-down removes it all)"
cat <<T
  export KUBECONFIG=$STATE/kubeconfig.local     # kubectl, if you have none: $STATE/tools/kubectl
  kubectl -n demo describe extractjob orders
  kubectl -n demo get jobs,pods
  S3        http://127.0.0.1:$s3  (path style, key tidemark, secret tidemark-secret, region us-east-1)
  DynamoDB  http://127.0.0.1:$dynamodb  (same keys, table tidemark)
  Postgres  PGPASSWORD=secret psql -h 127.0.0.1 -p $postgres -U postgres shop
  Logs      $STATE/log
T
