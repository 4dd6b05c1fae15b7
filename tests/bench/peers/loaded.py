"""Connects to DuckDB and loads extensions from the packages of the venv. DuckDB must not download others."""

import importlib
import os

import duckdb


def connect(s3=None, extensions=(), threads=None):
    """Opens a database in memory; `s3` has endpoint, key, secret and region."""
    config = {"autoinstall_known_extensions": False, "autoload_known_extensions": False}
    if threads:
        config["threads"] = threads
    database = duckdb.connect(config=config)
    for name in [*(["httpfs"] if s3 else []), *extensions]:
        package = os.path.dirname(importlib.import_module(f"duckdb_extension_{name}").__file__)
        path = os.path.join(package, "extensions", f"v{duckdb.__version__}", f"{name}.duckdb_extension")
        database.execute(f"load '{path}'")
    if s3:
        database.execute(
            f"create secret (type s3, key_id '{s3['key']}', secret '{s3['secret']}', endpoint '{s3['endpoint']}', "
            f"region '{s3['region']}', use_ssl false, url_style 'path')"
        )
    return database
