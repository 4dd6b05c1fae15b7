"""Copies one table with Spark JDBC. Usage: spark_copy.py JAR URL TABLE COLUMN LOW HIGH PARTITIONS TO"""

import sys

from pyspark.sql import SparkSession

jar, url, table, column, low, high, partitions, to = sys.argv[1:]
spark = (
    SparkSession.builder.master(f"local[{partitions}]")
    .config("spark.jars", jar)
    .config("spark.driver.memory", "6g")
    .config("spark.ui.enabled", "false")
    .config("spark.sql.session.timeZone", "UTC")
    .config("spark.hadoop.parquet.compression.codec.zstd.level", "3")
    .getOrCreate()
)
rows = spark.read.jdbc(
    url,
    table,
    column=column,
    lowerBound=int(low),
    upperBound=int(high),
    numPartitions=int(partitions),
    properties={"fetchsize": "10000", "driver": "org.postgresql.Driver"},
)
rows.write.option("compression", "zstd").parquet(to)
spark.stop()
