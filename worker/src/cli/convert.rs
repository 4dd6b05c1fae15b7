//! `tidemark convert`: prints calls of the legacy job as manifests.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crds::ExtractJob;
use crds::Reason;
use serde_json::json;
use worker_core::errors::failure::{Failure, REPORT};
use worker_core::migration::{Argument, LegacyJob, Moved, call, object_name, source_file};

use crate::cli::errors::{CommandError, UsageError};
use crate::cli::settings::Convert;
use crate::cli::terminal::print;

/// Prints one YAML document for each table.
///
/// # Errors
/// A usage error or `InvalidSpec`, before anything is printed; `OutputFailed`.
pub(super) fn convert(wanted: &Convert) -> Result<String, CommandError> {
    let (source, jobs) = read(wanted)?;
    let mut names = BTreeSet::new();
    let mut documents = String::new();
    let count = jobs.len();
    for mut job in jobs {
        fill(&mut job, wanted, &source);
        let table = job.table().to_owned();
        let moved = job.into_moved().map_err(|failure| of_table(&table, failure))?;
        let name = free_name(&object_name(&table), &mut names);
        documents.push_str(&document(&name, &moved)?);
    }
    print(documents.trim_end())?;
    Ok(format!("printed {count} manifests"))
}

fn read(wanted: &Convert) -> Result<(String, Vec<LegacyJob>), CommandError> {
    if let Some(path) = &wanted.sources_file {
        let name = path.display();
        let text = std::fs::read_to_string(path).map_err(|error| {
            let message = format!("file {name}: cannot be read: {}", error.kind());
            UsageError::new(message, "Check the path after --sources-file.")
        })?;
        let file = serde_saphyr::from_str(&text).map_err(|_| {
            let message = format!("file {name}: not valid YAML");
            UsageError::new(
                message,
                "Name a YAML file of the legacy pipeline after --sources-file.",
            )
        })?;
        return Ok(source_file(&file)?);
    }
    if wanted.arguments.is_empty() {
        return Ok((String::new(), vec![crate::cli::legacy::environment()?]));
    }
    let job = call(&wanted.arguments, &std::collections::BTreeMap::new())?.ok_or_else(|| {
        UsageError::new(
            "the arguments after -- are not a call of the legacy job",
            "Use the form --db_engine postgres or --DB_ENGINE=postgres.",
        )
    })?;
    Ok((String::new(), vec![job]))
}

/// Adds what a YAML file leaves out: the URI of each table, and the tracking table.
fn fill(job: &mut LegacyJob, wanted: &Convert, source: &str) {
    if let Some(uri) = &wanted.uri {
        let (database, table) = (job.database().to_owned(), job.table().replace('.', "/"));
        let parts = [uri.trim_end_matches('/'), source, &database, &table];
        let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        job.fill(Argument::ExtractS3Uri, parts.join("/").replace('"', ""));
    }
    if let Some(table) = &wanted.tracking_table {
        job.fill(Argument::TrackingTableName, table);
    }
}

fn of_table(table: &str, mut failure: Failure) -> Failure {
    if failure.report.message.starts_with("missing") {
        failure
            .report
            .remedy
            .push_str(" For values that a YAML file leaves out, pass --uri and --tracking-table.");
    }
    if !table.is_empty() {
        failure.report.message = format!("table {table}: {}", failure.report.message);
    }
    failure
}

/// A name that no other manifest of this output has.
fn free_name(wanted: &str, taken: &mut BTreeSet<String>) -> String {
    let mut name = wanted.to_owned();
    let mut count = 2;
    while !taken.insert(name.clone()) {
        let suffix = format!("-{count}");
        let kept: String = wanted.chars().take(63 - suffix.len()).collect();
        name = kept + &suffix;
        count += 1;
    }
    name
}

/// One manifest, after comments about what to check.
fn document(name: &str, moved: &Moved) -> Result<String, Failure> {
    let internal =
        |_| Failure::permanent(Reason::Internal, "cannot write the manifest as YAML", REPORT);
    let mut text = "---\n".to_owned();
    for note in notes(moved) {
        for line in note.lines() {
            let _ = writeln!(text, "# {line}");
        }
    }
    let job = ExtractJob::new(name, moved.spec.clone());
    let manifest = json!({
        "apiVersion": "tidemark.dev/v1alpha1",
        "kind": "ExtractJob",
        "metadata": { "name": name },
        "spec": job.spec,
    });
    let layout = serde_saphyr::ser_options! { folded_wrap_chars: usize::MAX };
    text += &serde_saphyr::to_string_with_options(&manifest, layout).map_err(internal)?;
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
}

fn notes(moved: &Moved) -> Vec<String> {
    let mut notes = Vec::new();
    let credentials = &moved.spec.source.credentials;
    if let Some(secret) = &credentials.secret_ref {
        notes.push(format!(
            "Create the Secret first, with the user and the password of the legacy job:\n  \
             kubectl create secret generic {} --from-literal=username=USER --from-file=password=FILE",
            secret.name
        ));
    }
    if let Some(secret) = &credentials.aws_secret {
        let name = &secret.name;
        notes.push(format!(
            "The AWS identity of the pods needs secretsmanager:GetSecretValue on {name}."
        ));
        if moved.spec.source.host.is_none() {
            notes.push("The host of the database is db_host of that secret.".to_owned());
        }
    }
    notes.push(
        "Tidemark verifies the certificate of the server (verifyFull). The legacy job did not.\n\
         If a private authority issued the certificate, set source.tls.caRef."
            .to_owned(),
    );
    let said = moved.warnings.iter().filter(|warning| !warning.contains("TLS_MODE"));
    notes.extend(said.map(|warning| format!("Note: {warning}")));
    notes
}
