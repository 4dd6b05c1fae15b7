//! `tidemark convert`: calls of the replaced job as manifests on standard output.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crds::ExtractJob;
use crds::Reason;
use serde_json::json;
use worker_core::errors::failure::Failure;
use worker_core::migration::{Argument, Moved, OldJob, call, object_name, source_file};

use crate::cli::settings::Convert;
use crate::cli::terminal::print;

/// Prints one YAML document for each table.
///
/// # Errors
/// `InvalidSpec`, nothing is printed then; `OutputFailed`.
pub fn convert(wanted: &Convert) -> Result<String, Failure> {
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
    Ok(format!("{count} manifests"))
}

fn read(wanted: &Convert) -> Result<(String, Vec<OldJob>), Failure> {
    let invalid =
        |message: String, remedy: &str| Failure::permanent(Reason::InvalidSpec, message, remedy);
    if let Some(path) = &wanted.source {
        let text = std::fs::read_to_string(path).map_err(|error| {
            invalid(format!("the YAML cannot be read: {}", error.kind()), "correct --source")
        })?;
        let file = serde_saphyr::from_str(&text)
            .map_err(|_| invalid("the file is not YAML".to_owned(), "correct --source"))?;
        return source_file(&file);
    }
    if wanted.arguments.is_empty() {
        return Ok((String::new(), vec![crate::cli::old_job::environment()?]));
    }
    let job = call(&wanted.arguments, &std::collections::BTreeMap::new())?.ok_or_else(|| {
        invalid(
            "the arguments after -- are not those of the old job".to_owned(),
            "write them as it took them: --db_engine postgres, or --DB_ENGINE=postgres",
        )
    })?;
    Ok((String::new(), vec![job]))
}

/// What a YAML leaves to the pipeline around it: the table's place in the bucket, and the tracking
/// table.
fn fill(job: &mut OldJob, wanted: &Convert, source: &str) {
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
        failure.report.remedy.push_str("; for what a YAML leaves out: --uri, --tracking-table");
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

/// One manifest, what to know about it in comments before it.
fn document(name: &str, moved: &Moved) -> Result<String, Failure> {
    let internal =
        |_| Failure::permanent(Reason::Internal, "a manifest cannot be written", "report this");
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
            "Make the Secret first, with the user and the password that the old job used:\n  \
             kubectl create secret generic {} --from-literal=username=USER --from-file=password=FILE",
            secret.name
        ));
    }
    if let Some(secret) = &credentials.aws_secret {
        let host = if moved.spec.source.host.is_none() { "; its db_host is the host" } else { "" };
        let name = &secret.name;
        notes.push(format!(
            "The pods' identity needs secretsmanager:GetSecretValue on {name}{host}."
        ));
    }
    notes.push(
        "The connection is verified (verifyFull), which the old job's was not: where the server's\n\
         certificate is not of a public authority, name that in source.tls.caRef."
            .to_owned(),
    );
    let said = moved.warnings.iter().filter(|warning| !warning.contains("TLS_MODE"));
    notes.extend(said.map(|warning| format!("Note: {warning}")));
    notes
}
