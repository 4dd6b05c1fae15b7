"""Copies one table with DuckDB. Usage: duckdb_copy.py ENGINE TABLE THREADS TO < S3, with S3 the JSON of the S3 server."""

import json
import sys

from loaded import connect

engine, table, threads, to = sys.argv[1:]
s3 = json.load(sys.stdin)
scanner = "postgres_scanner" if engine == "postgres" else "mysql_scanner"
database = connect(s3 if to.startswith("s3://") else None, [scanner], int(threads))
source = s3["source"]
if engine == "postgres":
    database.execute(f"attach '{source}' as source (type postgres, read_only)")
    name = f"source.public.{table}"
else:
    database.execute(f"attach '{source}' as source (type mysql, read_only)")
    name = f"source.{s3['database']}.{table}"
database.execute(f"copy (from {name}) to '{to}' (format parquet, compression zstd, compression_level 3)")
