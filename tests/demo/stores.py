"""The demo's bucket and tracking table.

Usage: stores.py prepare | item SOURCE | fetch FOLDER
"""

import json
import pathlib
import sys

import boto3
from botocore.config import Config

KEYS = {"aws_access_key_id": "tidemark", "aws_secret_access_key": "tidemark-secret", "region_name": "us-east-1"}
S3 = boto3.client("s3", endpoint_url="http://198.18.0.1:8333", config=Config(s3={"addressing_style": "path"}), **KEYS)
DYNAMODB = boto3.client("dynamodb", endpoint_url="http://198.18.0.1:8000", **KEYS)


def prepare() -> None:
    S3.create_bucket(Bucket="lake")
    DYNAMODB.create_table(
        TableName="tidemark",
        AttributeDefinitions=[{"AttributeName": "source", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "source", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )


def item(source: str) -> None:
    found = DYNAMODB.get_item(TableName="tidemark", Key={"source": {"S": source}}, ConsistentRead=True).get("Item")
    if found is None:
        sys.exit(f"no item {source} in table tidemark")
    print(json.dumps({name: next(iter(value.values())) for name, value in sorted(found.items())}, indent=2))


def fetch(folder: str) -> None:
    for page in S3.get_paginator("list_objects_v2").paginate(Bucket="lake"):
        for found in page.get("Contents", []):
            print(f"  s3://lake/{found['Key']}  {found['Size']} bytes")
            if found["Key"].endswith(".parquet"):
                path = pathlib.Path(folder, found["Key"])
                path.parent.mkdir(parents=True, exist_ok=True)
                S3.download_file("lake", found["Key"], str(path))


if __name__ == "__main__":
    {"prepare": prepare, "item": item, "fetch": fetch}[sys.argv[1]](*sys.argv[2:])
