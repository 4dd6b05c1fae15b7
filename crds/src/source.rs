//! Where the rows come from: `spec.source`.
#![expect(unreachable_pub, reason = "the derive of KubeSchema copies each struct into a function")]

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Database that has the table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = (
    "self.engine != 'postgres' || size(bytes(self.database)) <= 63",
    "source.database: a name has at most 63 bytes in Postgres"
))]
#[x_kube(validation = (
    "!has(self.credentials.rdsIam) || (has(self.host) && (!has(self.tls) || !has(self.tls.mode) || self.tls.mode != 'insecurePlaintext'))",
    "credentials.rdsIam needs source.host, for which the token is signed, and TLS, because the token is sent to the server"
))]
pub struct Source {
    /// Database engine.
    pub engine: Engine,
    /// Host name or address of the server. Defaults to the key `host` of the Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub host: Option<String>,
    /// TCP port. Defaults to 5432 for Postgres and to 3306 for MySQL and MariaDB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
    /// Name of the database.
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = (
        "!self.matches('[[:cntrl:]]')",
        "source.database must not contain control characters"
    ))]
    pub database: String,
    /// Credentials of the database user. Exactly one kind must be set.
    pub credentials: Credentials,
    /// How the connection is protected. Defaults to `verifyFull` with public certificate authorities.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
}

/// Database engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// PostgreSQL. Tested with 14 to 18.
    Postgres,
    /// MySQL or MariaDB. Tested with MySQL 8.0 and 9.7, and MariaDB 10.11 and 11.8.
    Mysql,
}

impl Engine {
    /// The word used in manifests, items and folder names.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Mysql => "mysql",
        }
    }

    /// The default port of the engine.
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Postgres => 5432,
            Self::Mysql => 3306,
        }
    }
}

/// Credentials of the database user. Exactly one field must be set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = (
    "has(self.secretRef) || has(self.awsSecret) || has(self.rdsIam)",
    "no credentials are given: set source.credentials.secretRef.name to a Secret of this namespace with the keys username and password, or source.credentials.awsSecret.name, or source.credentials.rdsIam.username"
))]
#[x_kube(validation = (
    "[has(self.secretRef), has(self.awsSecret), has(self.rdsIam)].filter(given, given).size() < 2",
    "more than one kind of credentials is given: keep one of source.credentials.secretRef, .awsSecret and .rdsIam"
))]
pub struct Credentials {
    /// Secret of this namespace with the keys `username` and `password`, and optionally `host`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretRef>,
    /// Secret of AWS Secrets Manager, read with the AWS identity of the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aws_secret: Option<AwsSecret>,
    /// IAM authentication of RDS: the AWS identity of the pod signs a token for each connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rds_iam: Option<RdsIam>,
}

/// IAM authentication of RDS. The role needs `rds-db:connect`. The database user needs the grant `rds_iam`, on
/// MySQL and MariaDB the plugin `AWSAuthenticationPlugin`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RdsIam {
    /// Database user.
    #[schemars(length(min = 1, max = 63))]
    pub username: String,
    /// AWS region of the database. Defaults to the region of the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 50))]
    pub region: Option<String>,
}

/// Secret of AWS Secrets Manager. It is JSON with `username`, `password` and optionally `host`, or with
/// `db_user`, `db_password` and optionally `db_host`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AwsSecret {
    /// Name or ARN of the secret.
    #[schemars(length(min = 1, max = 2048))]
    pub name: String,
    /// AWS region of the secret. Defaults to the region of the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 50))]
    pub region: Option<String>,
    /// Endpoint of a Secrets Manager server other than AWS. Defaults to AWS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 500))]
    #[x_kube(validation = ("self.matches('^https?://[^/]+$')", "endpoint must be http(s)://<host>[:<port>]"))]
    pub endpoint: Option<String>,
}

/// Secret of the same namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretRef {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// How the connection to the database is protected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tls {
    /// Which parts of the TLS connection are verified. Defaults to `verifyFull`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<TlsMode>,
    /// Certificate authorities to trust in addition to the public ones, in PEM. Defaults to none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_ref: Option<CaRef>,
}

/// How the connection to the database is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum TlsMode {
    /// TLS. The certificate chain and the host name are verified.
    #[default]
    VerifyFull,
    /// TLS. The certificate chain is verified, the host name is not.
    VerifyCa,
    /// No TLS. The operator must allow it.
    InsecurePlaintext,
}

/// A PEM bundle in a Secret or a ConfigMap of the same namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CaRef {
    /// Kind of the object that has the certificates. Defaults to `ConfigMap`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<CaKind>,
    /// Name of the object.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Key in the object. Defaults to `ca.crt`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub key: Option<String>,
}

/// Kind of the object that has the certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum CaKind {
    /// A ConfigMap.
    #[default]
    ConfigMap,
    /// A Secret.
    Secret,
}
