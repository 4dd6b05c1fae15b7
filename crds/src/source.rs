//! Where the rows come from: `spec.source`.
#![expect(unreachable_pub, reason = "the derive of KubeSchema copies each struct into a function")]

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The database that holds the table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = (
    "self.engine != 'postgres' || size(bytes(self.database)) <= 63",
    "database: a name has at most 63 bytes in Postgres"
))]
#[x_kube(validation = (
    "!has(self.credentials.rdsIam) || (has(self.host) && (!has(self.tls) || !has(self.tls.mode) || self.tls.mode != 'insecurePlaintext'))",
    "credentials.rdsIam needs source.host, the name that the token is signed for, and TLS, under which it is sent"
))]
pub struct Source {
    /// The kind of database.
    pub engine: Engine,
    /// Host name or address. May be left out when the Secret has a key `host`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub host: Option<String>,
    /// TCP port; the engine's usual one when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
    /// Name of the database.
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = (
        "!self.matches('[[:cntrl:]]')",
        "database: a name has no control characters"
    ))]
    pub database: String,
    /// How to log in: exactly one kind.
    pub credentials: Credentials,
    /// How the connection is protected; `verifyFull` when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
}

/// The kinds of database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// PostgreSQL 14 or newer.
    Postgres,
    /// MySQL 8 or newer, or MariaDB 10.6 or newer.
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

    /// The port that the engine listens on unless told otherwise.
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Postgres => 5432,
            Self::Mysql => 3306,
        }
    }
}

/// How to log in. Exactly one field is set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = (
    "has(self.secretRef) || has(self.awsSecret) || has(self.rdsIam)",
    "no credential is given: set source.credentials.secretRef.name to a Secret of this namespace with the keys username and password, or source.credentials.awsSecret.name, or source.credentials.rdsIam.username"
))]
#[x_kube(validation = (
    "[has(self.secretRef), has(self.awsSecret), has(self.rdsIam)].filter(given, given).size() < 2",
    "two credentials are given: keep one of source.credentials.secretRef, .awsSecret and .rdsIam"
))]
pub struct Credentials {
    /// A Secret of this namespace with the keys `username` and `password`, and optionally `host`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretRef>,
    /// A secret of AWS Secrets Manager, read with the pod's own identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aws_secret: Option<AwsSecret>,
    /// Tokens of RDS, which the pod's own AWS identity signs, one for each connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rds_iam: Option<RdsIam>,
}

/// Log-in by tokens of RDS: the role needs `rds-db:connect`, the database user the grant of `rds_iam` (of
/// MySQL and MariaDB: the plugin `AWSAuthenticationPlugin`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RdsIam {
    /// The database user.
    #[schemars(length(min = 1, max = 63))]
    pub username: String,
    /// Region of the database; the pod's own when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 50))]
    pub region: Option<String>,
}

/// A secret of AWS Secrets Manager: JSON with `username`, `password` and optionally `host`, or
/// with `db_user`, `db_password` and optionally `db_host`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AwsSecret {
    /// Its name or ARN.
    #[schemars(length(min = 1, max = 2048))]
    pub name: String,
    /// Its region; the pod's own when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 50))]
    pub region: Option<String>,
    /// Endpoint of a server other than AWS's public one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 500))]
    #[x_kube(validation = ("self.matches('^https?://[^/]+$')", "endpoint must be http(s)://<host>[:<port>]"))]
    pub endpoint: Option<String>,
}

/// A Secret of the same namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretRef {
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// How the connection to the database is protected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tls {
    /// `verifyFull` checks certificate and host name, `verifyCa` the certificate only,
    /// `insecurePlaintext` uses no TLS and must be allowed by the operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<TlsMode>,
    /// The certificate authority to trust, in PEM; the public ones when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_ref: Option<CaRef>,
}

/// The three ways to talk to a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum TlsMode {
    /// TLS; certificate chain and host name are checked.
    #[default]
    VerifyFull,
    /// TLS; the certificate chain is checked, the host name is not.
    VerifyCa,
    /// No TLS. Refused unless the operator allows it.
    InsecurePlaintext,
}

/// A PEM bundle in a Secret or a ConfigMap of the same namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CaRef {
    /// Whether `name` is a ConfigMap (when left out) or a Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<CaKind>,
    /// Name of the object.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Key in it; `ca.crt` when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub key: Option<String>,
}

/// What holds a CA bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum CaKind {
    /// A ConfigMap.
    #[default]
    ConfigMap,
    /// A Secret.
    Secret,
}
