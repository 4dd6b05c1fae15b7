//! In: a file with the manifest of one ExtractJob. Out: the task of a process without a cluster. Bound: one file of
//! at most 1 MiB. Fails: a usage error for the file, `InvalidSpec` for what the schema and the rules of the CRD
//! refuse, `TrackingNotAllowed`.

use std::io::{self, Read};
use std::path::Path;

use crds::manifest::{ManifestError, read};
use crds::task::{TASK_VERSION, TaskTracking};
use crds::tracking::Owner;
use crds::{ExtractJob, HASH_VERSION, Reason, Task};
use uuid::Uuid;
use worker_core::errors::failure::Failure;

use crate::cli::errors::{CommandError, UsageError};
use crate::cli::flags::ManifestFlags;

/// Most bytes of a manifest; etcd takes no more.
const BYTES_MAX: u64 = 1 << 20;

/// The task that a manifest asks for.
///
/// # Errors
/// As the module says.
pub(super) fn task_in(flags: &ManifestFlags) -> Result<Task, CommandError> {
    read_task(&flags.manifest, flags.tracking_table.as_ref())
}

/// The task that the manifest at `path` asks for.
///
/// # Errors
/// As the module says.
pub(super) fn read_task(
    path: &Path,
    tracking_table: Option<&String>,
) -> Result<Task, CommandError> {
    let name = path.display();
    let text = text_of(path).map_err(|error| {
        let (what, hint) = match error.kind() {
            io::ErrorKind::NotFound => ("file not found", "Check the path after -f."),
            io::ErrorKind::IsADirectory => ("is a directory", "Name one manifest file after -f."),
            io::ErrorKind::PermissionDenied => {
                ("permission denied", "Allow this user to read the file.")
            }
            io::ErrorKind::FileTooLarge => {
                ("larger than 1 MiB", "Name the file of an ExtractJob manifest after -f.")
            }
            io::ErrorKind::InvalidData => {
                ("not a text in UTF-8", "Name the file of an ExtractJob manifest after -f.")
            }
            _ => {
                return UsageError::new(
                    format!("manifest {name}: cannot be read: {}", error.kind()),
                    "Check the file.",
                );
            }
        };
        UsageError::new(format!("manifest {name}: {what}"), hint)
    })?;
    let job = read(&text).map_err(|error| refused(path, &error))?;
    Ok(task_of(job, tracking_table)?)
}

fn text_of(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let read = if path.as_os_str() == "-" {
        io::stdin().take(BYTES_MAX + 1).read_to_string(&mut text)
    } else {
        std::fs::File::open(path)?.take(BYTES_MAX + 1).read_to_string(&mut text)
    };
    match read {
        Ok(bytes) if bytes as u64 > BYTES_MAX => Err(io::ErrorKind::FileTooLarge.into()),
        Ok(_) => Ok(text),
        Err(error) => Err(error),
    }
}

fn refused(path: &Path, error: &ManifestError) -> CommandError {
    let message = format!("manifest {}: {error}", path.display());
    let hint = match error {
        ManifestError::NotYaml { .. } => "Correct the YAML there.",
        ManifestError::Documents(0) => "Write the manifest of one ExtractJob into it.",
        ManifestError::Documents(_) => "Put each ExtractJob in a file of its own.",
        ManifestError::WrongKind(_) => "Name the file of an ExtractJob manifest after -f.",
        ManifestError::Refused(_) => {
            let remedy = "Correct the manifest. `kubectl explain extractjob.spec --recursive` lists its fields.";
            return Failure::permanent(Reason::InvalidSpec, message, remedy).into();
        }
    };
    UsageError::new(message, hint).into()
}

/// The task of a process without a cluster, for an `ExtractJob`.
///
/// # Errors
/// `TrackingNotAllowed` if no tracking table is named.
pub(super) fn task_of(job: ExtractJob, tracking_table: Option<&String>) -> Result<Task, Failure> {
    let tracking = job.spec.tracking.clone().unwrap_or_default();
    let table = tracking.table.clone().or_else(|| tracking_table.cloned()).ok_or_else(|| {
        Failure::permanent(
            Reason::TrackingNotAllowed,
            "no tracking table is named",
            "Set spec.tracking.table in the manifest, or pass --tracking-table.",
        )
    })?;
    let default_key = format!("{}.{}", job.spec.source.database, job.spec.extract.table);
    let request = crds::request::request_hash(&job.spec, HASH_VERSION);
    Ok(Task {
        version: TASK_VERSION,
        tracking: TaskTracking {
            table,
            region: tracking.region,
            endpoint: tracking.endpoint,
            key: tracking.key.unwrap_or(default_key),
        },
        owner: Owner {
            uid: format!("cli/{}", Uuid::now_v7()),
            request: request.map(|request| request.request).unwrap_or_default(),
            hash_version: HASH_VERSION,
            generation: 1,
            requested_at: None,
        },
        attempt: 1,
        retry: 0,
        name: job.metadata.name.unwrap_or_else(|| "run".to_owned()),
        spec: job.spec,
    })
}
