"""Reads Parquet files with readers that share no code with the product.

Usage: read_parquet.py rows FOLDER SQL    one JSON object a line; the table `t` is all files under FOLDER,
                                          `h` the same with the folder names `column=value` as columns,
                                          `f` the same with a column `filename`
       read_parquet.py table FOLDER SQL   the same as text for people
       read_parquet.py footers FOLDER     one JSON object a file, by pyarrow: name, rows, row groups, schema, codecs
       read_parquet.py values FOLDER      one JSON object a row, by pyarrow, each value as Postgres would print it
       read_parquet.py groups FOLDER COLUMN LOW
                                          one JSON object a row group, by pyarrow: what its footer says about the
                                          column, and whether a reader of what is above LOW reads it
       read_parquet.py readers FOLDER     one JSON object for each file and reader (DuckDB, pyarrow, Polars), which
                                          reads all of it: rows, or its words of refusal
       read_parquet.py hive FOLDER        one JSON object for each reader: the rows of all files, the directories
                                          `column=value` being columns as the reader has them by itself
"""

import json
import pathlib
import re
import sys
import uuid

import duckdb
import polars
import pyarrow.compute
import pyarrow.dataset
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


def civil(days: int) -> tuple[str, str]:
    """The date so many days after 1970-01-01 by the Gregorian calendar, and the era if it is before Christ: Python's
    own calendar has only 9999 years."""
    days += 719_468
    era, day_of_era = divmod(days, 146_097)
    year_of_era = (day_of_era - day_of_era // 1460 + day_of_era // 36_524 - day_of_era // 146_096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    month_from_march = (5 * day_of_year + 2) // 153
    day = day_of_year - (153 * month_from_march + 2) // 5 + 1
    month = month_from_march + 3 if month_from_march < 10 else month_from_march - 9
    year = year_of_era + era * 400 + (month <= 2)
    return (f"{year:04d}-{month:02d}-{day:02d}", "") if year > 0 else (f"{1 - year:04d}-{month:02d}-{day:02d}", " BC")


def clock(micros: int) -> str:
    seconds, fraction = divmod(micros, 1_000_000)
    text = f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
    return text + f".{fraction:06d}".rstrip("0").rstrip(".")


def moment(micros: int, zone: str) -> str:
    days, rest = divmod(micros, 86_400_000_000)
    date, era = civil(days)
    return f"{date} {clock(rest)}{zone}{era}"


NUMBERS = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


def words(array: pyarrow.Array) -> list[str | None]:
    """The values of an array, as Postgres would print them."""
    kind = array.type
    if isinstance(kind, pyarrow.BaseExtensionType):
        array, kind = array.storage, array.type.storage_type
    types = pyarrow.types
    if types.is_boolean(kind):
        values, show = array.to_pylist(), lambda value: "t" if value else "f"
    elif types.is_fixed_size_binary(kind):
        values, show = array.to_pylist(), lambda value: str(uuid.UUID(bytes=value))
    elif types.is_binary(kind):
        values, show = array.to_pylist(), lambda value: "\\x" + value.hex()
    elif types.is_date32(kind):
        values, show = array.cast("int32").to_pylist(), lambda value: "".join(civil(value))
    elif types.is_time64(kind):
        values, show = array.cast("int64").to_pylist(), clock
    elif types.is_timestamp(kind):
        zone = "+00" if kind.tz else ""
        values, show = array.cast("int64").to_pylist(), lambda value: moment(value, zone)
    elif types.is_decimal(kind):
        values, show = array.to_pylist(), lambda value: f"{value:f}"
    elif types.is_floating(kind):
        values, show = array.cast("string").to_pylist(), lambda value: NUMBERS.get(value, value)
    else:
        values, show = array.cast("string").to_pylist(), lambda value: value
    return [None if value is None else show(value) for value in values]


def values(folder: str) -> None:
    for path in sorted(pathlib.Path(folder).rglob("*.parquet")):
        for batch in pyarrow.parquet.ParquetFile(path).iter_batches():
            columns = [words(column) for column in batch.columns]
            for row in zip(*columns):
                print(json.dumps(dict(zip(batch.schema.names, row))))


def groups(folder: str, column: str, low: str) -> None:
    for path in sorted(pathlib.Path(folder).rglob("*.parquet")):
        file = pyarrow.parquet.ParquetFile(path)
        index = file.schema_arrow.get_field_index(column)
        bound = pyarrow.scalar(low).cast(file.schema_arrow.field(index).type)
        [fragment] = pyarrow.dataset.dataset(path).get_fragments()
        kept = {group.id for group in fragment.subset(pyarrow.compute.field(column) > bound).row_groups}
        for i in range(file.metadata.num_row_groups):
            chunk = file.metadata.row_group(i).column(index)
            found = chunk.statistics if chunk.is_stats_set else None
            print(
                json.dumps(
                    {
                        "rows": chunk.num_values,
                        "min": str(found.min) if found and found.has_min_max else None,
                        "max": str(found.max) if found and found.has_min_max else None,
                        "nulls": found.null_count if found and found.has_null_count else None,
                        "column_index": chunk.has_column_index,
                        "offset_index": chunk.has_offset_index,
                        "read": i in kept,
                    }
                )
            )


def by_duckdb(path: pathlib.Path) -> int:
    return duckdb.read_parquet(str(path), hive_partitioning=False).to_arrow_table().num_rows


def by_pyarrow(path: pathlib.Path) -> int:
    table = pyarrow.parquet.ParquetFile(path).read()
    table.validate(full=True)
    return table.num_rows


def by_polars(path: pathlib.Path) -> int:
    rows = polars.read_parquet(path, hive_partitioning=False).height
    # Polars takes JSON for any text: a parser has the word
    for field in pyarrow.parquet.read_schema(path):
        if getattr(field.type, "extension_name", "") == "arrow.json":
            for value in polars.read_parquet(path)[field.name].to_arrow().cast("string").to_pylist():
                json.loads(value or "null")
    return rows


READERS = {"duckdb": by_duckdb, "pyarrow": by_pyarrow, "polars": by_polars}


def readers(folder: str) -> None:
    for path in sorted(pathlib.Path(folder).rglob("*.parquet")):
        for name, read in READERS.items():
            found = {"file": str(path.relative_to(folder)), "reader": name, "rows": None, "error": None}
            try:
                found["rows"] = read(path)
            except BaseException as error:
                # a part of what it says, which may hold a value
                found["error"] = f"{type(error).__name__}: {error}"[:200]
            print(json.dumps(found))


def hive(folder: str) -> None:
    everything = {
        "duckdb": lambda: duckdb.read_parquet(f"{folder}/**/*.parquet", hive_partitioning=True).to_arrow_table().to_pylist(),
        "pyarrow": lambda: pyarrow.dataset.dataset(folder, partitioning="hive").to_table().to_pylist(),
        "polars": lambda: polars.read_parquet(folder, hive_partitioning=True).to_dicts(),
    }
    for name, read in everything.items():
        print(json.dumps({"reader": name, "rows": read()}, default=text))


if __name__ == "__main__":
    mode, folder, *rest = sys.argv[1:]
    if mode == "rows":
        rows(folder, rest[0])
    elif mode == "table":
        print(connect(folder, rest[0]).sql(rest[0]))
    elif mode == "footers":
        footers(folder)
    elif mode == "values":
        values(folder)
    elif mode == "groups":
        groups(folder, *rest)
    elif mode == "readers":
        readers(folder)
    elif mode == "hive":
        hive(folder)
    else:
        sys.exit(__doc__)
