"""Counts, sums, distinct values and checksums of each column of a table, independent of the order of its rows.

Usage: summary.py < REQUEST, with {"files", "format": "parquet" or "lines", "columns": [[name, kind]...], "distinct", "s3"}
Each value is converted to a canonical form for the kind of its column, so that the types of the outputs may differ.
If the type of a column cannot store the values exactly, "not_compared" has the reason.
"""

import json
import sys

from loaded import connect

NULL = "~null~"


def canonical(kind, name, found):
    """Returns the SQL for the canonical value of a column, or the reason why its type has none."""
    column = '"' + name + '"'
    if kind.startswith("decimal"):
        if found in ("DOUBLE", "FLOAT"):
            return None, f"{found} instead of a decimal"
        scale = kind[7:]
        wanted = f"decimal({38 if int(scale) > 4 else 18},{scale})"
        exact = f"cast({column} as {wanted})"
        if found in ("VARCHAR", wanted) or found.endswith(f",{scale})"):
            return exact, None
        # a type with a larger scale: the additional digits must be zero
        return f"case when {exact} = {column} then {exact} when {column} is not null then error('{name}: too many digits') end", None
    if kind in ("integer", "float", "boolean", "date"):
        wanted = {"integer": "bigint", "float": "double"}.get(kind, kind)
        return f"cast({column} as {wanted})", None
    if kind == "padded":
        return f"rtrim(cast({column} as varchar), ' ')", None
    if kind == "uuid":
        return f"cast({column} as uuid)", None
    if kind in ("instant", "timestamp"):
        # the source sends microseconds since 1970
        return (f"cast({column} as bigint)" if found == "VARCHAR" else f"epoch_us({column})"), None
    if kind == "bytes":
        return (column if found == "VARCHAR" else f"hex({column})"), None
    if kind == "json":
        return f"cast(json({column}) as varchar)", None
    if kind == "list" and found != "VARCHAR":
        items = f"list_transform({column}, lambda item: coalesce(cast(item as varchar), 'NULL'))"
        return f"case when {column} is not null then '{{' || array_to_string({items}, ',') || '}}' end", None
    return f"cast({column} as varchar)", None


def source_of(request):
    if request["format"] == "parquet":
        return f"read_parquet({request['files']!r}, hive_partitioning = false)"
    names = "{" + ", ".join(f"'{name}': 'VARCHAR'" for name, _ in request["columns"]) + "}"
    return (
        f"read_csv({request['files']!r}, delim = '\\t', header = false, quote = '', escape = '', nullstr = '{NULL}', "
        f"columns = {names}, max_line_size = 16777216, strict_mode = false, parallel = false)"
    )


def main():
    request = json.load(sys.stdin)
    database = connect(request.get("s3"))
    source = source_of(request)
    types = {row[0]: row[1] for row in database.execute(f"describe select * from {source}").fetchall()}
    selected, answered, compared = ["count(*)"], [], []
    columns, inner = {}, []
    for index, (name, kind) in enumerate(request["columns"]):
        found = types.get(name)
        if found is None:
            columns[name] = {"type": "absent", "not_compared": "the column is absent"}
            continue
        text, reason = canonical(kind, name, found)
        columns[name] = {"type": found}
        if reason:
            columns[name]["not_compared"] = reason
            text = "NULL"
            selected.append(f'count("{name}")')
            inner.append(f'"{name}"')
            answered.append((name, "values"))
            continue
        inner.append(f"{text} as v{index}")
        wanted = {"values": f"count(v{index})", "checksum": f"sum((hash(v{index}) >> 1)::bigint)::varchar"}
        # a sum of 38 digits overflows, and one of doubles depends on the order of the rows
        if kind in ("integer", "decimal2", "decimal4"):
            wanted["sum"] = f"sum(v{index})::varchar"
        if request["distinct"]:
            wanted["distinct"] = f"count(distinct hash(v{index}))"
        compared.append(f"v{index}")
        for what, sql in wanted.items():
            selected.append(sql)
            answered.append((name, what))
    # a checksum over whole rows also detects values that moved to another row
    selected.append(f"sum((hash({', '.join(compared)}) >> 1)::bigint)::varchar")
    row = database.execute(f"select {', '.join(selected)} from (select {', '.join(inner)} from {source})").fetchone()
    for (name, what), value in zip(answered, row[1:-1]):
        columns[name][what] = value
    answer = {"rows": row[0], "columns": columns}
    answer["row_checksum"] = row[-1] if len(compared) == len(columns) else None
    if request["format"] == "parquet":
        codecs = database.execute(
            f"select list(distinct compression), sum(total_compressed_size)::bigint from parquet_metadata({request['files']!r})"
        ).fetchone()
        answer["codecs"], answer["bytes"] = sorted(codecs[0]), codecs[1]
        answer["files"] = database.execute(f"select count(*) from parquet_file_metadata({request['files']!r})").fetchone()[0]
    json.dump(answer, sys.stdout)


main()
