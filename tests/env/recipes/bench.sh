# DuckDB with its scanners, ConnectorX, pyarrow and Rivet, which `make bench` compares with, in a venv, 30 seconds
set -euo pipefail
python=python3
python3 -c 'import venv, ensurepip' 2>/dev/null || python=/usr/bin/python3
$python -m venv "$OUT"
# The newest release of DuckDB whose extensions are packages: it cannot download them while it runs.
duckdb=1.5.5
"$OUT/bin/pip" install --no-input --disable-pip-version-check duckdb==$duckdb duckdb-extension-httpfs==$duckdb \
  duckdb-extension-postgres-scanner==$duckdb duckdb-extension-mysql-scanner==$duckdb connectorx==0.4.6 pyarrow==26.0.1
# A program without Python modules: without it the other peers still run.
"$OUT/bin/pip" install --no-input --disable-pip-version-check rivet-cli==0.32.2 || echo "rivet-cli could not be installed"
