"""Copies one table with ConnectorX and pyarrow. Usage: connectorx_copy.py URL TABLE COLUMN PARTITIONS TO"""

import sys

import connectorx
import pyarrow.parquet

url, table, column, partitions, to = sys.argv[1:]
rows = connectorx.read_sql(
    url, f"select * from {table}", partition_on=column, partition_num=int(partitions), return_type="arrow"
)
pyarrow.parquet.write_table(rows, to, compression="zstd", compression_level=3)
