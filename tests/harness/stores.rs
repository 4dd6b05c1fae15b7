//! Databases, buckets, tracking tables, and what is in them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType,
    ScalarAttributeType,
};
use aws_smithy_http_client::{Builder, tls};
use serde_json::{Map, Value};

use crate::{Mysql, TestEnv, unique};

/// Who asks the S3 server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// May do everything.
    Admin,
    /// May read and list only: writes are refused with 403.
    Reader,
}

impl Access {
    /// Access key and secret key.
    pub const fn keys(self) -> (&'static str, &'static str) {
        match self {
            Self::Admin => ("tidemark", "tidemark-secret"),
            Self::Reader => ("reader", "reader-secret"),
        }
    }
}

/// One Parquet file as pyarrow sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParquetFile {
    /// Its key, without the prefix that was asked for.
    pub name: String,
    /// Rows by its footer.
    pub rows: u64,
    /// Row groups.
    pub row_groups: u64,
    /// Compression, each named once.
    pub codecs: Vec<String>,
    /// Arrow type of each column, in pyarrow's words.
    pub schema: BTreeMap<String, String>,
}

impl TestEnv {
    /// A new, empty database.
    ///
    /// # Errors
    /// If the server refuses it.
    pub async fn database(&self, prefix: &str) -> Result<String> {
        let name = unique(prefix).replace('-', "_");
        self.psql("postgres", &format!("create database {name}")).await?;
        Ok(name)
    }

    /// Runs SQL as superuser over verified TLS; rows come as lines, columns parted by `|`. It stops at the first error.
    ///
    /// # Errors
    /// With the server's words.
    pub async fn psql(&self, database: &str, sql: &str) -> Result<String> {
        let mut command = self.command("psql");
        command.args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-d", &self.postgres_url(database)]);
        Ok(self.succeed(command, sql).await?.trim_end().to_owned())
    }

    /// A new, empty database of MariaDB.
    ///
    /// # Errors
    /// If the server refuses it.
    pub async fn mariadb_database(&self, prefix: &str) -> Result<String> {
        let name = unique(prefix).replace('-', "_");
        self.mariadb("mysql", &format!("create database {name}")).await?;
        Ok(name)
    }

    /// Runs SQL as the superuser of MariaDB, or of the MySQL that the test environment has instead; rows come as lines, columns parted by tabs. It stops at the
    /// first error.
    ///
    /// # Errors
    /// With the server's words.
    pub async fn mariadb(&self, database: &str, sql: &str) -> Result<String> {
        self.mysql_at((Mysql::of_env(), Self::MARIADB_PORT), database, sql).await
    }

    /// The same of a release on a port.
    pub(crate) async fn mysql_at(
        &self,
        (release, port): (Mysql, u16),
        database: &str,
        sql: &str,
    ) -> Result<String> {
        let mut command = self.command("mariadb");
        command
            .args(["--no-defaults", "-NBr", "--protocol=tcp", "--default-character-set=utf8mb4"])
            .arg(format!("--host={}", Self::IP))
            .arg(format!("--port={port}"))
            .arg(format!("--user={}", Self::MARIADB_USER))
            .arg(format!("--password={}", Self::MARIADB_PASSWORD))
            .args(self.mysql_tls(release))
            .arg(database);
        let sql = release.spelled(sql);
        Ok(self.succeed(command, &sql).await?.trim_end().to_owned())
    }

    /// The client's options of TLS.
    fn mysql_tls(&self, release: Mysql) -> Vec<String> {
        if release.takes_tls() {
            vec![format!("--ssl-ca={}", self.ca().display()), "--ssl-verify-server-cert".to_owned()]
        } else {
            vec!["--skip-ssl".to_owned()]
        }
    }

    /// A client of the S3 server.
    pub fn s3(&self, access: Access) -> aws_sdk_s3::Client {
        Self::s3_at(Self::S3, access)
    }

    /// A client of the S3 server through a proxy.
    pub fn s3_at(endpoint: &str, access: Access) -> aws_sdk_s3::Client {
        let (key, secret) = access.keys();
        let config = aws_sdk_s3::Config::builder()
            .behavior_version_latest()
            .region(aws_sdk_s3::config::Region::new(Self::REGION))
            .endpoint_url(endpoint)
            .force_path_style(true)
            .credentials_provider(aws_sdk_s3::config::Credentials::new(
                key, secret, None, None, "env",
            ))
            .http_client(http_client())
            .build();
        aws_sdk_s3::Client::from_conf(config)
    }

    /// A new, empty bucket.
    ///
    /// # Errors
    /// If the server refuses it.
    pub async fn bucket(&self, prefix: &str) -> Result<String> {
        let name = unique(prefix);
        self.s3(Access::Admin).create_bucket().bucket(&name).send().await?;
        Ok(name)
    }

    /// All keys under a prefix, in order.
    ///
    /// # Errors
    /// If the server refuses it.
    pub async fn keys(&self, bucket: &str, prefix: &str) -> Result<Vec<String>> {
        let client = self.s3(Access::Admin);
        let mut pages =
            client.list_objects_v2().bucket(bucket).prefix(prefix).into_paginator().send();
        let mut keys = Vec::new();
        while let Some(page) = pages.next().await {
            keys.extend(
                page?.contents().iter().filter_map(|object| object.key().map(str::to_owned)),
            );
        }
        keys.sort();
        Ok(keys)
    }

    /// The bytes of an object.
    ///
    /// # Errors
    /// If it is absent.
    pub async fn object(&self, bucket: &str, key: &str) -> Result<Vec<u8>> {
        let object = self.s3(Access::Admin).get_object().bucket(bucket).key(key).send().await;
        let object = object.with_context(|| format!("get s3://{bucket}/{key}"))?;
        Ok(object.body.collect().await?.to_vec())
    }

    /// A client of DynamoDB Local.
    pub fn dynamodb(&self) -> aws_sdk_dynamodb::Client {
        let (key, secret) = Access::Admin.keys();
        let config = aws_sdk_dynamodb::Config::builder()
            .behavior_version_latest()
            .region(aws_sdk_dynamodb::config::Region::new(Self::REGION))
            .endpoint_url(Self::DYNAMODB)
            .credentials_provider(aws_sdk_dynamodb::config::Credentials::new(
                key, secret, None, None, "env",
            ))
            .http_client(http_client())
            .build();
        aws_sdk_dynamodb::Client::from_conf(config)
    }

    /// A new tracking table: hash key `source`, a string.
    ///
    /// # Errors
    /// If the server refuses it.
    pub async fn table(&self, prefix: &str) -> Result<String> {
        let name = unique(prefix);
        self.create_table(&name).await?;
        Ok(name)
    }

    /// Makes a tracking table of this name.
    ///
    /// # Errors
    /// If the server refuses it.
    pub async fn create_table(&self, name: &str) -> Result<()> {
        self.dynamodb()
            .create_table()
            .table_name(name)
            .attribute_definitions(
                AttributeDefinition::builder()
                    .attribute_name("source")
                    .attribute_type(ScalarAttributeType::S)
                    .build()?,
            )
            .key_schema(
                KeySchemaElement::builder()
                    .attribute_name("source")
                    .key_type(KeyType::Hash)
                    .build()?,
            )
            .billing_mode(BillingMode::PayPerRequest)
            .send()
            .await?;
        Ok(())
    }

    /// One item of a tracking table as plain JSON, read consistently; `None` if it is absent.
    ///
    /// # Errors
    /// If the table is absent, or an attribute has a type that Tidemark does not write.
    pub async fn item(&self, table: &str, source: &str) -> Result<Option<Value>> {
        let key = AttributeValue::S(source.to_owned());
        let request = self.dynamodb().get_item().table_name(table).key("source", key);
        let output = request.consistent_read(true).send().await?;
        output.item.map(|item| plain(AttributeValue::M(item))).transpose()
    }

    /// Runs SQL over all Parquet files under a prefix with duckdb, one JSON object a row. Table `t` has the columns of the
    /// files, `h` those of the folder names too, `f` the column `filename`.
    ///
    /// # Errors
    /// If there is no such file, or with duckdb's words.
    pub async fn read_parquet(&self, bucket: &str, prefix: &str, sql: &str) -> Result<Vec<Value>> {
        self.parquet(bucket, prefix, "rows", &[sql]).await
    }

    /// The footers of all Parquet files under a prefix, by pyarrow, in order of their names.
    ///
    /// # Errors
    /// If one is no Parquet file.
    pub async fn parquet_files(&self, bucket: &str, prefix: &str) -> Result<Vec<ParquetFile>> {
        let lines = self.parquet(bucket, prefix, "footers", &[]).await?;
        lines.iter().map(parquet_file).collect()
    }

    /// The rows of all Parquet files under a prefix, by pyarrow, each value as Postgres would print it.
    ///
    /// # Errors
    /// If one is no Parquet file.
    pub async fn parquet_values(&self, bucket: &str, prefix: &str) -> Result<Vec<Value>> {
        self.parquet(bucket, prefix, "values", &[]).await
    }

    /// The row groups of all Parquet files under a prefix, by pyarrow: what is said of `column`, and whether a reader
    /// of what is above `low` reads it.
    ///
    /// # Errors
    /// If there is no such column, or `low` is not of its type.
    pub async fn row_groups(
        &self,
        bucket: &str,
        prefix: &str,
        column: &str,
        low: &str,
    ) -> Result<Vec<Value>> {
        self.parquet(bucket, prefix, "groups", &[column, low]).await
    }

    /// How DuckDB, pyarrow and Polars read all files under a prefix: for each file and reader its rows, or its
    /// words of refusal.
    ///
    /// # Errors
    /// If they cannot be fetched.
    pub async fn read_by_all(&self, bucket: &str, prefix: &str) -> Result<Vec<Value>> {
        self.parquet(bucket, prefix, "readers", &[]).await
    }

    /// The rows of all files under a prefix as each of these readers has them by itself, directories
    /// `column=value` being columns.
    ///
    /// # Errors
    /// With the words of a reader that refuses.
    pub async fn read_hive(&self, bucket: &str, prefix: &str) -> Result<Vec<Value>> {
        self.parquet(bucket, prefix, "hive", &[]).await
    }

    /// How the three readers read files of a folder of this machine.
    ///
    /// # Errors
    /// If they do not start.
    pub async fn read_folder(&self, folder: &Path) -> Result<Vec<Value>> {
        let mut command = self.command(self.state.join("venv/bin/python"));
        command.arg(crate::env::script("read_parquet.py")).arg("readers").arg(folder);
        let text = self.succeed(command, "").await?;
        text.lines().map(|line| serde_json::from_str(line).context("parse an answer")).collect()
    }

    async fn parquet(
        &self,
        bucket: &str,
        prefix: &str,
        mode: &str,
        rest: &[&str],
    ) -> Result<Vec<Value>> {
        let folder = self.state.join("parquet").join(unique("read"));
        for key in self.keys(bucket, prefix).await? {
            if Path::new(&key).extension().is_some_and(|extension| extension == "parquet") {
                let name = key.strip_prefix(prefix).unwrap_or(&key).trim_start_matches('/');
                let path = folder.join(name);
                fs::create_dir_all(path.parent().context("folder of a file")?)?;
                fs::write(path, self.object(bucket, &key).await?)?;
            }
        }
        let mut command = self.command(self.state.join("venv/bin/python"));
        command.arg(crate::env::script("read_parquet.py")).arg(mode).arg(&folder).args(rest);
        let text = self.succeed(command, "").await;
        // Absent where the prefix had no file.
        let _ = fs::remove_dir_all(&folder);
        text?.lines().map(|line| serde_json::from_str(line).context("parse a row")).collect()
    }
}

fn http_client() -> aws_sdk_s3::config::SharedHttpClient {
    Builder::new()
        .tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring))
        .build_https()
}

fn parquet_file(line: &Value) -> Result<ParquetFile> {
    let field = |name: &str| line.get(name).with_context(|| format!("{name} of a footer"));
    Ok(ParquetFile {
        name: field("name")?.as_str().context("name")?.to_owned(),
        rows: field("rows")?.as_u64().context("rows")?,
        row_groups: field("row_groups")?.as_u64().context("row groups")?,
        codecs: serde_json::from_value(field("codecs")?.clone())?,
        schema: serde_json::from_value(field("schema")?.clone())?,
    })
}

/// An attribute as JSON; numbers keep their digits.
fn plain(value: AttributeValue) -> Result<Value> {
    Ok(match value {
        AttributeValue::S(text) => Value::String(text),
        AttributeValue::N(digits) => serde_json::from_str(&digits)?,
        AttributeValue::Bool(truth) => Value::Bool(truth),
        AttributeValue::Null(_) => Value::Null,
        AttributeValue::L(list) => {
            Value::Array(list.into_iter().map(plain).collect::<Result<_>>()?)
        }
        AttributeValue::Ss(set) => Value::from(set),
        AttributeValue::M(map) => {
            // In order of the names, so that a failed comparison can be read.
            let sorted: BTreeMap<_, _> = map.into_iter().collect();
            let fields = sorted.into_iter().map(|(name, value)| Ok((name, plain(value)?)));
            Value::Object(fields.collect::<Result<Map<_, _>>>()?)
        }
        other => {
            return Err(anyhow!("an attribute of a type that is not ours: {other:?}"));
        }
    })
}
