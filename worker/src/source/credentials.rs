//! Credentials for the source database: from mounted files, from AWS Secrets Manager, or as RDS tokens.

use std::path::{Path, PathBuf};

use aws_config::retry::RetryConfig;
use aws_sdk_secretsmanager::error::{ProvideErrorMetadata, SdkError};
use crds::Reason;
use crds::source::{AwsSecret, Source, TlsMode};
use serde_json::Value;
use worker_core::errors::failure::Failure;
use worker_core::migration::Tls;

use crate::base::aws::{self, Requests};
use crate::source::login::{Login, SILENCE};
use crate::source::secret::Secret;
use crate::source::tokens::TokenSigner;

/// How often the SDK asks for a secret: nothing is held yet, and the run is tried again as a whole.
const ATTEMPTS_MAX: u32 = 4;

/// User, password and perhaps the host.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// User.
    pub username: String,
    /// Password; empty if each connection signs a token.
    pub password: Secret,
    /// Signs the tokens that serve as passwords.
    pub token_signer: Option<TokenSigner>,
    /// Host, where the credentials name one.
    pub host: Option<String>,
}

/// The connection of a manifest: its credentials from their one place, the host of the manifest or
/// else theirs.
///
/// # Errors
/// `CredentialsMissing`, `CredentialsUnreachable`.
pub async fn login(source: &Source, folder: &Path, ca: Option<PathBuf>) -> Result<Login, Failure> {
    let mode = source.tls.as_ref().and_then(|tls| tls.mode).unwrap_or_default();
    if source.credentials.rds_iam.is_some() && mode == TlsMode::InsecurePlaintext {
        return Err(Failure::permanent(
            Reason::InvalidSpec,
            "source.credentials.rdsIam sends its tokens only over TLS with a verified certificate",
            "Set source.tls.mode: verifyFull, or use another kind of source.credentials.",
        ));
    }
    let found = match (&source.credentials.aws_secret, &source.credentials.rds_iam) {
        (Some(secret), _) => from_aws(secret).await?,
        (None, Some(wanted)) => Credentials {
            username: wanted.username.clone(),
            password: Secret::new(String::new()),
            token_signer: Some(TokenSigner::new(wanted).await?),
            host: None,
        },
        (None, None) => from_folder(folder)?,
    };
    log_in(source, found, Tls::Mode(mode), ca)
}

/// The connection with these credentials.
///
/// # Errors
/// `CredentialsMissing` where no host is named.
pub fn log_in(
    source: &Source,
    found: Credentials,
    tls: Tls,
    ca: Option<PathBuf>,
) -> Result<Login, Failure> {
    let host = source.host.clone().or(found.host).ok_or_else(|| {
        missing(
            "neither source.host nor the credentials contain a host",
            "Set source.host, or add the key host or db_host to the secret of source.credentials.",
        )
    })?;
    if [found.username.as_str(), found.password.reveal()].iter().any(|text| text.contains('\0')) {
        return Err(missing(
            "the username or the password of the credentials contains a NUL character",
            "Remove the NUL character from the Secret of source.credentials.",
        ));
    }
    Ok(Login {
        engine: source.engine,
        host,
        port: source.port.unwrap_or(source.engine.default_port()),
        database: source.database.clone(),
        username: found.username,
        password: found.password,
        token_signer: found.token_signer,
        tls,
        ca,
        silence: SILENCE,
    })
}

fn missing(message: impl Into<String>, remedy: &str) -> Failure {
    Failure::permanent(Reason::CredentialsMissing, message, remedy)
}

/// Reads `username`, `password` and, if any, `host` from a folder; a newline at the end, which
/// `kubectl create secret --from-file` brings along, is not part of the value.
///
/// # Errors
/// `CredentialsMissing`.
pub fn from_folder(folder: &Path) -> Result<Credentials, Failure> {
    let needed = |key: &str| {
        read_key(folder, key)?.ok_or_else(|| {
            missing(
                format!("the Secret with the credentials has no key {key}"),
                "Add the keys username and password to the Secret of source.credentials.secretRef.",
            )
        })
    };
    Ok(Credentials {
        username: needed("username")?,
        password: Secret::new(needed("password")?),
        token_signer: None,
        host: read_key(folder, "host")?.filter(|host| !host.is_empty()),
    })
}

fn read_key(folder: &Path, key: &str) -> Result<Option<String>, Failure> {
    match std::fs::read_to_string(folder.join(key)) {
        Ok(text) => {
            let line = text.strip_suffix("\r\n").or_else(|| text.strip_suffix('\n'));
            Ok(Some(line.unwrap_or(&text).to_owned()))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(_) => Err(missing(
            format!("the key {key} of the Secret with the credentials is not readable as text"),
            "Check the Secret of source.credentials.secretRef.",
        )),
    }
}

/// Reads a secret of AWS Secrets Manager, with this process' own identity.
///
/// # Errors
/// `CredentialsMissing`: no such secret, no right to read it, not of the right form.
/// `CredentialsUnreachable`: no answer.
pub async fn from_aws(secret: &AwsSecret) -> Result<Credentials, Failure> {
    // a name without a folder: the pod's own identity
    let config =
        Box::pin(aws::shared(secret.region.as_deref(), Path::new(""), "", Requests::default()))
            .await?;
    let retries = RetryConfig::standard().with_max_attempts(ATTEMPTS_MAX);
    let mut client = aws_sdk_secretsmanager::config::Builder::from(&config).retry_config(retries);
    if let Some(endpoint) = &secret.endpoint {
        client = client.endpoint_url(endpoint);
    }
    let client = aws_sdk_secretsmanager::Client::from_conf(client.build());
    let sent = Box::pin(client.get_secret_value().secret_id(&secret.name).send()).await;
    let answer = sent.map_err(|error| refused(&error))?;
    let text = match (answer.secret_string, answer.secret_binary) {
        (Some(text), _) => text,
        (None, Some(bytes)) => String::from_utf8(bytes.into_inner()).unwrap_or_default(),
        (None, None) => String::new(),
    };
    parse(&text)
}

/// The JSON of a secret, with the legacy job's names or the usual ones.
fn parse(text: &str) -> Result<Credentials, Failure> {
    const REMEDY: &str = "Store JSON with username, password and optionally host, or with db_user, \
         db_password and optionally db_host.";
    let json: Value =
        serde_json::from_str(text).map_err(|_| missing("the AWS secret is not JSON", REMEDY))?;
    let key = |names: [&str; 2]| {
        let found = names.iter().filter_map(|name| json.get(name)).find_map(Value::as_str);
        found.map(str::to_owned)
    };
    let needed = |names: [&str; 2]| {
        key(names).ok_or_else(|| {
            missing(
                format!("the AWS secret contains neither {} nor {}", names[0], names[1]),
                REMEDY,
            )
        })
    };
    Ok(Credentials {
        username: needed(["db_user", "username"])?,
        password: Secret::new(needed(["db_password", "password"])?),
        token_signer: None,
        host: key(["db_host", "host"]).filter(|host| !host.is_empty()),
    })
}

fn refused<E: ProvideErrorMetadata, R>(error: &SdkError<E, R>) -> Failure {
    match error.code() {
        Some("ResourceNotFoundException" | "InvalidRequestException") => missing(
            "AWS Secrets Manager has no such secret in this region, or the secret is being deleted",
            "Correct the name and region of source.credentials.awsSecret, or --db_secret and AWS_REGION.",
        ),
        Some(
            "AccessDeniedException"
            | "DecryptionFailure"
            | "UnrecognizedClientException"
            | "InvalidSignatureException"
            | "ExpiredTokenException",
        ) => missing(
            "AWS Secrets Manager denies access to the secret",
            "Allow secretsmanager:GetSecretValue (and kms:Decrypt of its key) for the AWS identity of the \
             pods.",
        ),
        code => Failure::transient(
            Reason::CredentialsUnreachable,
            match code {
                Some(code) => format!("AWS Secrets Manager returned {code}"),
                None => "AWS Secrets Manager does not respond, or the pods have no AWS identity"
                    .to_owned(),
            },
            "Check the region, the endpoint and the network, and that the pods have an AWS identity.",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_has_the_legacy_jobs_names_or_the_usual_ones() {
        let old = parse(r#"{"db_user": "a", "db_password": "b", "db_host": "h", "db_port": 1}"#);
        let old = old.expect("the old names");
        assert_eq!((old.username.as_str(), old.password.reveal()), ("a", "b"));
        assert_eq!(old.host.as_deref(), Some("h"));
        let usual = parse(r#"{"username": "a", "password": "b", "engine": "postgres"}"#);
        let usual = usual.expect("the usual names");
        assert_eq!((usual.password.reveal(), usual.host), ("b", None));
    }

    #[test]
    fn a_secret_of_another_form_is_named_and_not_shown() {
        for text in ["canary", r#"{"username": "canary"}"#, r#"["canary"]"#, ""] {
            let failure = parse(text).expect_err("another form");
            assert_eq!(failure.report.reason, Reason::CredentialsMissing);
            assert!(!failure.to_string().contains("canary"), "{failure}");
        }
    }

    #[test]
    fn a_secret_prints_nothing() {
        assert_eq!(format!("{:?}", Secret::new("canary".to_owned())), "Secret(..)");
    }
}
