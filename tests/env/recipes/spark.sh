# Spark with the JDBC driver of Postgres, which `make bench` compares with, in a venv, a minute
set -euo pipefail
python=python3
python3 -c 'import venv, ensurepip' 2>/dev/null || python=/usr/bin/python3
$python -m venv "$OUT"
"$OUT/bin/pip" install --no-input --disable-pip-version-check pyspark==4.3.0
mvn -B -ntp org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy -Dartifact=org.postgresql:postgresql:42.7.14:jar \
  -DoutputDirectory="$OUT/jars"
