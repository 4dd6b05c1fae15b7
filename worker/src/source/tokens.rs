//! Passwords of RDS: tokens that the AWS identity signs, valid for 15 minutes. Each
//! connection gets one of its own.

use std::fmt;
use std::time::{Duration, SystemTime};

use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_sigv4::http_request::{
    SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign,
};
use aws_sigv4::sign::v4;
use crds::Reason;
use crds::source::RdsIam;
use url::Url;
use worker_core::errors::failure::Failure;

use crate::base::aws::{self, Requests};
use crate::source::secret::Secret;

/// How long a token may be used, as RDS has it.
const LIFE: Duration = Duration::from_mins(15);

/// Makes tokens for one database user.
#[derive(Clone)]
pub struct TokenSigner {
    identity: SharedCredentialsProvider,
    region: String,
    username: String,
}

impl fmt::Debug for TokenSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenSigner").field("region", &self.region).finish_non_exhaustive()
    }
}

impl TokenSigner {
    /// With this process' own identity, by the SDK's chain: IRSA, Pod Identity, environment, instance.
    ///
    /// # Errors
    /// `CredentialsMissing` where there is no identity at all.
    pub async fn new(wanted: &RdsIam) -> Result<Self, Failure> {
        // a name without a folder: the pod's own identity
        let folder = std::path::Path::new("");
        let settings = aws::shared(wanted.region.as_deref(), folder, "", Requests::default());
        let config = Box::pin(settings).await?;
        let identity = config.credentials_provider().ok_or_else(no_identity)?;
        let region = config.region().map(ToString::to_string).unwrap_or_default();
        Ok(Self { identity, region, username: wanted.username.clone() })
    }

    /// With an identity that is nobody's.
    #[cfg(test)]
    pub(crate) fn of_tests() -> Self {
        let identity = aws_credential_types::Credentials::new("id", "key", None, None, "tests");
        Self {
            identity: SharedCredentialsProvider::new(identity),
            region: "eu-central-1".to_owned(),
            username: "extract".to_owned(),
        }
    }

    /// A token for the server at that host and port.
    ///
    /// # Errors
    /// `CredentialsUnreachable` where the identity cannot be had now.
    pub async fn sign(&self, host: &str, port: u16) -> Result<Secret, Failure> {
        let identity = self.identity.provide_credentials().await.map_err(|_| no_identity())?;
        self.signed(&identity.into(), host, port, SystemTime::now()).ok_or_else(|| {
            Failure::permanent(
                Reason::InvalidSpec,
                "cannot create a token for source.host and the user of rdsIam",
                "Check source.host, source.port and source.credentials.rdsIam.",
            )
        })
    }

    fn signed(
        &self,
        identity: &aws_smithy_runtime_api::client::identity::Identity,
        host: &str,
        port: u16,
        now: SystemTime,
    ) -> Option<Secret> {
        let mut url = Url::parse(&format!("https://{host}:{port}/")).ok()?;
        url.query_pairs_mut()
            .append_pair("Action", "connect")
            .append_pair("DBUser", &self.username);
        let mut settings = SigningSettings::default();
        settings.expires_in = Some(LIFE);
        settings.signature_location = SignatureLocation::QueryParams;
        let params = v4::SigningParams::builder()
            .identity(identity)
            .region(&self.region)
            .name("rds-db")
            .time(now)
            .settings(settings)
            .build()
            .ok()?;
        let body = SignableBody::Bytes(&[]);
        let request = SignableRequest::new("GET", url.as_str(), std::iter::empty(), body).ok()?;
        let (instructions, _) = sign(request, &params.into()).ok()?.into_parts();
        for (name, value) in instructions.params() {
            url.query_pairs_mut().append_pair(name, value);
        }
        // the token is the signed address without its scheme
        url.as_str().strip_prefix("https://").map(|token| Secret::new(token.to_owned()))
    }
}

fn no_identity() -> Failure {
    Failure::transient(
        Reason::CredentialsUnreachable,
        "no AWS identity is available to sign an RDS token, or the service that provides it does not respond",
        "Give the ServiceAccount of the pods an IAM role (IRSA or Pod Identity) that allows rds-db:connect.",
    )
}
