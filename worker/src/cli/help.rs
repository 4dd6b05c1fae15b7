//! What `--help` shows below the flags: examples and exit codes.

use clap::CommandFactory as _;

use crate::cli::settings::Settings;

/// Exit code of a usage error, as clap has it.
pub(super) const USAGE_ERROR: u8 = 2;

const EXIT_CODES: &str = "\
Exit codes:
  0    The command succeeded
  2    Usage error: a flag, an environment variable or the path of a file is wrong
  10   Failed, for example an invalid manifest or a missing permission. Fix the cause first
  20   Another run or process has claimed the source
  75   Failed, for example because of a network error. Another attempt may succeed
  143  Stopped by a signal";

const ROOT: &str = "\
Examples:
  # Show what a run would read
  tidemark plan -f orders.yaml

  # Extract and publish the next window
  tidemark run -f orders.yaml

  # Check what is published
  tidemark verify -f orders.yaml";

const RUN: &str = "\
S3 and DynamoDB credentials are read from the AWS environment (AWS_ACCESS_KEY_ID, AWS_PROFILE, and so on).

Examples:
  # Extract with the database credentials in the directory ./shop
  tidemark run -f orders.yaml --credentials ./shop

  # Limit the memory
  tidemark run -f orders.yaml --memory 1Gi

  # Run the manifest of an object in the cluster
  kubectl get extractjob orders -o yaml | tidemark run -f -";

const PLAN: &str = "\
Examples:
  # Show window, partitions, columns and warnings
  tidemark plan -f orders.yaml

  # Print the whole plan for a program
  tidemark plan -f orders.yaml --json";

const VERIFY: &str = "\
The findings are printed as JSON. If there is a finding, the exit code is 10.

Examples:
  # Check files, manifests and tracking items
  tidemark verify -f orders.yaml

  # Also count the rows in the database
  tidemark verify -f orders.yaml --recount";

const WATERMARK: &str = "\
Examples:
  # Print watermark and revision
  tidemark watermark get -f orders.yaml

  # Read the rows since January again
  tidemark watermark rewind -f orders.yaml --value 2024-01-01 --revision 7 --by ann";

const RECOVER: &str = "\
A decided run is stuck if one of its uploads was aborted by another program. Its window is read again by the next run.

Examples:
  # Undo the run of status.runId
  tidemark recover -f orders.yaml --by ann \\
    --force 01931a2b-0f3c-7cc1-9a52-0d8a8f1f2c3d";

const CONVERT: &str = "\
Examples:
  # Convert all tables of a YAML file
  tidemark convert --sources-file shop.yml --uri s3://lake --tracking-table tracking

  # Convert one call
  tidemark convert -- --db_engine postgres --extract_table public.orders ...";

/// The commands, with examples and exit codes.
pub(super) fn command() -> clap::Command {
    let below = |text: &str| format!("{text}\n\n{EXIT_CODES}");
    let mut command = quiet(Settings::command()).after_help(below(ROOT));
    for (name, text) in [
        ("run", RUN),
        ("plan", PLAN),
        ("verify", VERIFY),
        ("watermark", WATERMARK),
        ("recover", RECOVER),
        ("convert", CONVERT),
    ] {
        command = command.mut_subcommand(name, |command| command.after_help(below(text)));
    }
    command.mut_subcommand("watermark", |command| {
        command.mut_subcommands(|command| command.after_help(below(WATERMARK)))
    })
}

/// Hides the values of environment variables, since help names them only. Advanced flags belong to every command, and the
/// short help does not show them.
fn quiet(command: clap::Command) -> clap::Command {
    let quiet_arg = |arg: clap::Arg| {
        let advanced = arg.get_help_heading().is_some_and(|title| title.starts_with("Advanced"));
        let arg = arg.hide_env_values(true);
        if advanced { arg.global(true).hide_short_help(true) } else { arg }
    };
    command.mut_args(quiet_arg).mut_subcommands(quiet)
}

/// The command that these words name, such as `watermark get`. Words that are no command are left out.
pub(super) fn command_of(words: impl IntoIterator<Item = String>) -> clap::Command {
    let mut found = command();
    found.build();
    for word in words {
        let inner = found.get_subcommands().find(|inner| inner.get_name() == word);
        if let Some(inner) = inner.cloned() {
            found = inner;
        }
    }
    found
}

/// The name of a command, with those above it.
pub(super) fn full_name(command: &clap::Command) -> &str {
    command.get_bin_name().unwrap_or("tidemark")
}

/// The usage line of a command.
pub(super) fn usage(mut command: clap::Command) -> String {
    command.render_usage().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each command that people see, by its path.
    fn pages(command: &mut clap::Command, found: &mut Vec<(String, String, String)>) {
        let name = command.get_bin_name().unwrap_or("tidemark").to_owned();
        let (short, long) = (command.render_help(), command.render_long_help());
        found.push((name, short.to_string(), long.to_string()));
        for inner in command.get_subcommands_mut() {
            if !inner.is_hide_set() && inner.get_name() != "help" {
                pages(inner, found);
            }
        }
    }

    fn all_pages() -> Vec<(String, String, String)> {
        let mut root = command().term_width(100);
        root.build();
        let mut found = Vec::new();
        pages(&mut root, &mut found);
        found
    }

    #[test]
    fn short_help_shows_no_duration_and_no_command_of_pods() {
        for (name, short, long) in all_pages() {
            assert!(!short.contains("--lease-seconds"), "{name}: {short}");
            assert!(long.contains("--lease-seconds"), "{name}: {long}");
            assert!(long.contains("Exit codes:") && long.contains("Examples:"), "{name}: {long}");
            for hidden in ["coordinate", "extract  ", "ready", "--task", "--order", "--pause"] {
                assert!(!long.contains(&format!("  {hidden}")), "{name}: {hidden}: {long}");
            }
        }
    }

    #[test]
    fn examples_are_valid_commands() {
        let mut examples = 0;
        for (name, _, long) in all_pages() {
            let text = long.replace("\\\n", " ");
            let lines =
                text.lines().filter_map(|line| line.split_once("tidemark ").map(|it| (it, line)));
            for ((before, words), line) in lines.filter(|(_, line)| line.starts_with("  ")) {
                let starts = before.trim().is_empty() || before.ends_with("| ");
                if !starts || line.contains("Usage:") {
                    continue;
                }
                let words = words.split_whitespace().filter(|word| *word != "...");
                let words = std::iter::once("tidemark").chain(words);
                let parsed = command().try_get_matches_from(words);
                assert!(parsed.is_ok(), "{name}: {line}: {:?}", parsed.err());
                examples += 1;
            }
        }
        assert!(examples >= 12, "{examples}");
    }

    #[test]
    fn every_flag_has_help_and_a_heading() {
        fn check(command: &clap::Command) {
            let name = command.get_name();
            assert!(command.get_about().is_some(), "{name}");
            for arg in command.get_arguments().filter(|arg| !arg.is_hide_set()) {
                let id = arg.get_id();
                if ["help", "version"].contains(&id.as_str()) {
                    continue;
                }
                assert!(arg.get_help().is_some(), "{name} {id} has no help");
                let hidden = ["coordinate", "extract", "ready"].contains(&name);
                assert!(hidden || arg.get_help_heading().is_some(), "{name} {id} has no heading");
            }
            command.get_subcommands().filter(|inner| inner.get_name() != "help").for_each(check);
        }
        let mut root = command();
        root.build();
        check(&root);
    }

    #[test]
    fn flag_means_the_same_in_every_command() {
        fn check(command: &clap::Command, found: &mut std::collections::BTreeMap<String, String>) {
            for arg in command.get_arguments() {
                let names = [arg.get_short().map(String::from), arg.get_long().map(str::to_owned)];
                for name in names.into_iter().flatten() {
                    let id = arg.get_id().to_string();
                    assert_eq!(found.entry(name.clone()).or_insert(id.clone()), &id, "{name}");
                }
            }
            command.get_subcommands().for_each(|inner| check(inner, found));
        }
        let mut root = command();
        root.build();
        let mut found = std::collections::BTreeMap::new();
        check(&root, &mut found);
        assert_eq!(found.get("f").map(String::as_str), Some("manifest"));
        // the id of the run that a pod belongs to; `--force` names the one to undo
        assert_eq!(found.get("run").map(String::as_str), Some("run"));
    }

    #[test]
    fn usage_names_the_command_that_was_called() {
        let of = |words: &str| usage(command_of(words.split(' ').map(str::to_owned)));
        assert!(of("run -f x").starts_with("Usage: tidemark run [OPTIONS] --manifest <FILE>"));
        assert!(
            of("--log-format text watermark get").starts_with("Usage: tidemark watermark get ")
        );
        assert!(of("rnu").starts_with("Usage: tidemark [OPTIONS] <COMMAND>"));
    }
}
