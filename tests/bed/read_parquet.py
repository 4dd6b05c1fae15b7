"""Reads Parquet files with readers that share no code with the product.

Usage: read_parquet.py rows FOLDER SQL    one JSON object a line; the table `t` is all files under FOLDER,
                                          `h` the same with the folder names `column=value` as columns,
                                          `f` the same with a column `filename`
       read_parquet.py table FOLDER SQL   the same as text for people
       read_parquet.py footers FOLDER     one JSON object a file, by pyarrow: name, rows, row groups, schema, codecs
"""

import json
import pathlib
import re
import sys

import duckdb
import pyarrow.parquet


OPTIONS = {
    "t": "hive_partitioning = false",
    "h": "hive_partitioning = true",
    "f": "hive_partitioning = false, filename = true",
}


def connect(folder: str, sql: str) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    for view, options in OPTIONS.items():
        # folders of different columns cannot be read as `h`
        if re.search(rf"\b{view}\b", sql):
            connection.execute(f"CREATE VIEW {view} AS SELECT * FROM read_parquet('{folder}/**/*.parquet', {options})")
    return connection


def rows(folder: str, sql: str) -> None:
    result = connect(folder, sql).execute(sql)
    names = [column[0] for column in result.description]
    while batch := result.fetchmany(10_000):
        for row in batch:
            print(json.dumps(dict(zip(names, row)), default=text))


def text(value: object) -> str:
    return value.hex() if isinstance(value, (bytes, bytearray)) else str(value)


def footers(folder: str) -> None:
    for path in sorted(pathlib.Path(folder).rglob("*.parquet")):
        file = pyarrow.parquet.ParquetFile(path)
        meta = file.metadata
        groups = [meta.row_group(i) for i in range(meta.num_row_groups)]
        print(
            json.dumps(
                {
                    "name": str(path.relative_to(folder)),
                    "rows": meta.num_rows,
                    "row_groups": len(groups),
                    "codecs": sorted({g.column(c).compression for g in groups for c in range(g.num_columns)}),
                    "schema": {field.name: str(field.type) for field in file.schema_arrow},
                }
            )
        )


if __name__ == "__main__":
    mode, folder, *rest = sys.argv[1:]
    if mode == "rows":
        rows(folder, rest[0])
    elif mode == "table":
        print(connect(folder, rest[0]).sql(rest[0]))
    elif mode == "footers":
        footers(folder)
    else:
        sys.exit(__doc__)
