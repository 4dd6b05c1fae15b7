//! A call of the legacy job, run as `tidemark run`.

use std::collections::BTreeMap;
use std::process::ExitCode;

use crds::ExtractJob;
use worker_core::errors::failure::Failure;
use worker_core::migration::{self, LegacyJob, Moved, object_name};

use crate::cli::flags::DatabaseFlags;
use crate::cli::local::{here, local_stores};
use crate::cli::manifest::task_of;
use crate::cli::report;
use crate::cli::settings::LegacySettings;
use crate::publishing::durations::Durations;
use crate::source::credentials::{Credentials, log_in, login};
use crate::source::login::Login;
use crate::source::secret::Secret;

/// Arguments and environment, in the form that the core reads.
fn given() -> (Vec<String>, BTreeMap<String, String>) {
    let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
    let arguments = std::env::args_os().skip(1).map(text).collect();
    let variables = std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect();
    (arguments, variables)
}

/// The call of the legacy job that this process was started with, if there is one.
///
/// # Errors
/// `InvalidSpec`.
pub fn call() -> Result<Option<LegacyJob>, Failure> {
    let (arguments, variables) = given();
    migration::call(&arguments, &variables)
}

/// The call of the legacy job in the environment.
///
/// # Errors
/// `InvalidSpec`.
pub fn environment() -> Result<LegacyJob, Failure> {
    migration::environment(&given().1)
}

/// Runs the call. Other settings come from `TIDEMARK_..` variables, endpoints and identity from those of the AWS SDK.
pub async fn run(call: Result<LegacyJob, Failure>, settings: LegacySettings) -> ExitCode {
    let result = Box::pin(run_call(call, &settings)).await;
    report::ended("run", result.map_err(Into::into), settings.logs.log_format)
}

async fn run_call(
    call: Result<LegacyJob, Failure>,
    settings: &LegacySettings,
) -> Result<String, Failure> {
    let mut moved = call?.into_moved()?;
    for warning in &moved.warnings {
        tracing::warn!(warning, "warning about the call of the legacy job");
    }
    name_endpoints(&mut moved, &given().1);
    let name = object_name(&moved.spec.extract.table);
    let task = task_of(ExtractJob::new(&name, moved.spec.clone()), None)?;
    let durations = Durations::try_from(settings.durations)?;
    let stores = local_stores(&task, durations).await?;
    let found = login_of(&moved, &settings.database).await?;
    let login = Login { silence: durations.silence, ..found };
    let flags = (&settings.memory, &settings.run);
    Box::pin(here(task, stores, login, flags, durations)).await
}

/// Puts the endpoints of the SDK's own variables into the spec: path-style addresses are used for servers other than
/// AWS, as for a manifest.
fn name_endpoints(moved: &mut Moved, variables: &BTreeMap<String, String>) {
    let endpoint = |service: &str| {
        let own = format!("AWS_ENDPOINT_URL_{service}");
        let names = [own.as_str(), "AWS_ENDPOINT_URL"];
        let ignored = variables
            .get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS")
            .is_some_and(|text| text.eq_ignore_ascii_case("true"));
        let found = names.iter().filter_map(|name| variables.get(*name));
        found
            .filter(|text| !ignored && !text.is_empty())
            .map(|text| text.trim_end_matches('/').to_owned())
            .next()
    };
    moved.spec.output.endpoint = endpoint("S3");
    if let Some(tracking) = &mut moved.spec.tracking {
        tracking.endpoint = endpoint("DYNAMODB");
        tracking.region = ["AWS_REGION", "AWS_DEFAULT_REGION"]
            .iter()
            .find_map(|name| variables.get(*name).filter(|text| !text.is_empty()))
            .cloned();
    }
    if let Some(secret) = &mut moved.spec.source.credentials.aws_secret {
        secret.endpoint = endpoint("SECRETS_MANAGER");
    }
}

async fn login_of(moved: &Moved, database: &DatabaseFlags) -> Result<Login, Failure> {
    let (source, ca) = (&moved.spec.source, database.ca_file.clone());
    let mut found = match &moved.login {
        Some(given) => {
            let password = Secret::new(given.password.clone());
            let credentials = Credentials {
                username: given.user.clone(),
                password,
                token_signer: None,
                host: None,
            };
            log_in(source, credentials, moved.tls, ca)?
        }
        None => login(source, &database.credentials, ca).await?,
    };
    found.tls = moved.tls;
    Ok(found)
}
