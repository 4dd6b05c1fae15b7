//! The command line of the built binaries: usage errors, manifests that are refused, logs and output for people.

use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::{SourceFixture, TestEnv, binary, tests_dir, unique};
use serde_json::{Value, json};

/// A text of a manifest that must not be seen anywhere.
const CANARY: &str = "canary-7f3a91";

/// `tidemark` without the environment of the person who runs the tests.
fn tidemark(arguments: &[&str], variables: &[(&str, &str)]) -> Result<Output> {
    program("tidemark", arguments, variables)
}

fn program(name: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Result<Output> {
    let mut command = Command::new(binary(name)?);
    command.env_clear().args(arguments).envs(variables.iter().copied());
    command.stdin(std::process::Stdio::null());
    command.output().with_context(|| format!("start {name} {arguments:?}"))
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Exit 2, an error, a hint, the usage, and nothing about a defect.
fn is_usage_error(what: &str, output: &Output, words: &[&str]) -> Result<()> {
    let said = stderr(output);
    ensure!(output.status.code() == Some(2), "{what}: exit {:?}: {said}", output.status.code());
    ensure!(said.starts_with("error: ") && said.contains("\nhint: "), "{what}: {said}");
    ensure!(said.contains("Usage: tidemark"), "{what}: no usage: {said}");
    ensure!(!said.to_lowercase().contains("as a bug of tidemark"), "{what}: {said}");
    ensure!(!said.contains(CANARY), "{what}: a text of the manifest: {said}");
    ensure!(output.stdout.is_empty(), "{what}: {}", String::from_utf8_lossy(&output.stdout));
    for word in words {
        ensure!(said.contains(word), "{what}: no {word:?}: {said}");
    }
    Ok(())
}

/// A folder of this test's own.
fn folder(name: &str) -> Result<PathBuf> {
    let folder = std::env::temp_dir().join(unique(name));
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

fn example() -> PathBuf {
    tests_dir().join("../crds/examples/incremental.yaml")
}

#[test]
fn call_that_is_wrong_ends_with_exit_2_and_the_usage() -> Result<()> {
    let example = example();
    let example = example.to_str().context("a path")?;
    let run = "01931a2b-0f3c-7cc1-9a52-0d8a8f1f2c3d";
    let cases: &[(&[&str], &[&str])] = &[
        (&["run", "-f", example, "--memry", "1Gi"], &["--memry", "hint: ", "--memory"]),
        (&["rn"], &["rn"]),
        (&["run"], &["--manifest <FILE>"]),
        (&["run", "-f"], &["a value is required"]),
        (&["run", "-f", example, "--memory", "lots"], &["--memory", "512Mi or 1Gi"]),
        (&["run", "-f", example, "--memory", "1023Ki"], &["at least 1Mi"]),
        (&["run", "-f", example, "--lease-seconds", "ten"], &["--lease-seconds"]),
        (&["run", "-f", example, "--log-format", "xml"], &["auto, text, json"]),
        (&["run", "-f", example, "-f", example], &["cannot be used multiple times"]),
        (
            &["watermark", "set", "-f", example, "--revision", "1", "--by", "ann"],
            &["--value <VALUE>"],
        ),
        (
            &["watermark", "rewind", "-f", example, "--value", "1", "--revision", "x", "--by", "a"],
            &["--revision"],
        ),
        (&["recover"], &["--force <RUN>"]),
        (&["recover", "--force", run], &["--manifest <FILE>"]),
        (&["recover", "-f", example], &["--force <RUN>"]),
        (&["recover", "--force", "7", "-f", example], &["status.runId"]),
        (&["convert", "--sources-file", "/no/such.yml"], &["/no/such.yml", "hint: "]),
        (&["convert", "--sources-file", example, "--", "--db_engine"], &["cannot be used with"]),
        (&["convert", "--", "--no-such", "call"], &["legacy job", "hint: "]),
    ];
    for (arguments, words) in cases {
        is_usage_error(&format!("{arguments:?}"), &tidemark(arguments, &[])?, words)?;
    }
    for command in ["run", "plan", "verify", "watermark get"] {
        let arguments: Vec<&str> = command.split(' ').chain(["-f", example]).collect();
        let lease = [("TIDEMARK_LEASE_SECONDS", "360")];
        let words = ["a lease of 360 s", "hint: ", &format!("Usage: tidemark {command}")];
        is_usage_error(command, &tidemark(&arguments, &lease)?, &words)?;
        let lease = [("TIDEMARK_LEASE_SECONDS", "long")];
        is_usage_error(command, &tidemark(&arguments, &lease)?, &["TIDEMARK_LEASE_SECONDS"])?;
    }
    Ok(())
}

#[test]
fn file_that_is_no_manifest_ends_with_exit_2_and_the_usage() -> Result<()> {
    let folder = folder("manifests")?;
    let one = std::fs::read_to_string(example())?;
    let file = |name: &str, text: &[u8]| -> Result<PathBuf> {
        let path = folder.join(name);
        std::fs::write(&path, text)?;
        Ok(path)
    };
    let large = format!("# {}\n{one}", "x".repeat(1 << 20));
    let cases: Vec<(PathBuf, &str)> = vec![
        (folder.join("missing.yaml"), "file not found"),
        (folder.clone(), "is a directory"),
        (
            file("broken.yaml", format!("{one}\n  x: [{CANARY}").as_bytes())?,
            "not valid YAML: line ",
        ),
        (file("empty.yaml", b"")?, "0 YAML documents"),
        (file("two.yaml", format!("{one}\n---\n{one}").as_bytes())?, "2 YAML documents"),
        (file("kind.yaml", b"apiVersion: v1\nkind: Secret\n")?, "apiVersion v1, kind Secret"),
        (file("text.yaml", CANARY.as_bytes())?, "an ExtractJob"),
        (file("bytes.yaml", b"\xff\xfe\x00")?, "not a text in UTF-8"),
        (file("large.yaml", large.as_bytes())?, "larger than 1 MiB"),
    ];
    let run = "01931a2b-0f3c-7cc1-9a52-0d8a8f1f2c3d";
    for (path, word) in &cases {
        let path = path.to_str().context("a path")?;
        for command in [
            &["run"][..],
            &["plan"],
            &["verify"],
            &["watermark", "get"],
            &["recover", "--force", run, "--by", "ann"],
        ] {
            let arguments = [command, &["-f", path]].concat();
            let words = [path, word, "hint: "];
            is_usage_error(&format!("{arguments:?}"), &tidemark(&arguments, &[])?, &words)?;
        }
    }
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}

/// The tests run as root, which may read every file: without its capabilities it may not.
#[test]
fn manifest_without_read_permission_is_a_usage_error() -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = folder("denied")?;
    let path = folder.join("denied.yaml");
    std::fs::copy(example(), &path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o000))?;
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set=-all", "--inh-caps=-all", "--"]);
    let output = command.arg(binary("tidemark")?).args(["plan", "-f"]).arg(&path).output()?;
    is_usage_error("denied", &output, &["permission denied", "hint: "])?;
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}

/// What the last line of the log says, as JSON.
fn last_line(output: &Output) -> Result<Value> {
    let said = stderr(output);
    let last = said.lines().last().context("a line")?;
    serde_json::from_str(last).with_context(|| said.clone())
}

#[test]
fn manifest_is_checked_as_the_api_server_checks_it() -> Result<()> {
    let folder = folder("checked")?;
    let path = folder.join("job.yaml");
    let text = std::fs::read_to_string(example())?;
    for (line, other, said) in [
        (
            "\n  extract:",
            "\n  extrct:",
            r#"unknown field "spec.extrct", did you mean "spec.extract"?"#,
        ),
        (
            "engine: postgres",
            "engine: oracle",
            r#"spec.source.engine: Unsupported value: "oracle""#,
        ),
        (
            "public.orders",
            "a.b.c",
            "spec.extract.table: extract.table must be <table> or <schema>.<table>",
        ),
        (
            "\n  output:",
            "\n  suspend: 1\n  output:",
            "spec.suspend: Invalid value: must be a boolean",
        ),
    ] {
        ensure!(text.contains(line), "no {line:?} in the example");
        std::fs::write(&path, text.replace(line, other))?;
        let name = path.to_str().context("a path")?;
        let run = "01931a2b-0f3c-7cc1-9a52-0d8a8f1f2c3d";
        for command in [
            &["run"][..],
            &["plan"],
            &["verify"],
            &["watermark", "get"],
            &["recover", "--by", "ann", "--force", run],
        ] {
            let arguments = [command, &["-f", name]].concat();
            let output = tidemark(&arguments, &[])?;
            ensure!(output.status.code() == Some(10), "{arguments:?}: {}", stderr(&output));
            let fields = &last_line(&output)?["fields"];
            ensure!(fields["reason"] == "InvalidSpec", "{fields}");
            ensure!(fields["report"].as_str().is_some_and(|text| text.contains(said)), "{fields}");
            ensure!(fields["remedy"].as_str().is_some_and(|text| text.contains("kubectl explain")));
        }
        let text = tidemark(&["plan", "-f", name, "--log-format", "text"], &[])?;
        let printed = stderr(&text);
        ensure!(printed.starts_with("error: manifest ") && printed.contains(said), "{printed}");
        ensure!(printed.contains("(InvalidSpec)\nhint: Correct the manifest."), "{printed}");
        ensure!(text.status.code() == Some(10), "{printed}");
    }
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}

#[test]
fn operator_refuses_wrong_flags_with_exit_2_and_the_usage() -> Result<()> {
    for (arguments, word) in [
        (&[][..], "--worker-image <IMAGE>"),
        (&["--worker-image", "w", "--resnc", "5"], "--resync-seconds"),
        (&["--worker-image", "w", "--resync-seconds", "soon"], "number of seconds"),
        (&["--worker-image", "w", "--resync-seconds=-1"], "number of seconds"),
        (&["--worker-image", "w", "--worker-resources", "1Gi"], "use JSON such as"),
        (&["--worker-image", "w", "--log-format", "xml"], "auto, text, json"),
        (&["--worker-image", "w", "--worker-env", "PROXY"], "NAME=VALUE"),
    ] {
        let output = program("tidemark-operator", arguments, &[])?;
        is_usage_error(&format!("{arguments:?}"), &output, &[word])?;
    }
    Ok(())
}

#[test]
fn operator_that_cannot_start_prints_cause_and_remedy() -> Result<()> {
    let alone = ["--worker-image", "w", "--log-format"];
    let text = program("tidemark-operator", &[&alone[..], &["text"]].concat(), &[])?;
    let said = stderr(&text);
    ensure!(text.status.code() == Some(1), "{:?}: {said}", text.status.code());
    ensure!(said.contains("error: connect to the API server: "), "{said}");
    ensure!(said.contains("\nhint: Run the operator in a pod"), "{said}");
    let json = program("tidemark-operator", &[&alone[..], &["auto"]].concat(), &[])?;
    let fields = &last_line(&json)?["fields"];
    ensure!(fields["message"] == "operator failed", "{fields}");
    ensure!(fields["remedy"].as_str().is_some_and(|text| text.contains("KUBECONFIG")), "{fields}");
    Ok(())
}

#[test]
fn directory_without_credentials_is_named_with_the_flag() -> Result<()> {
    let folder = folder("credentials")?;
    let (path, example) = (folder.to_str().context("a path")?, example());
    let example = example.to_str().context("a path")?;
    let arguments = ["plan", "-f", example, "--credentials", path, "--log-format", "text"];
    let region = [("AWS_REGION", "eu-central-1")];
    for missing in ["username", "password"] {
        let output = tidemark(&arguments, &region)?;
        let said = stderr(&output);
        ensure!(output.status.code() == Some(10), "{:?}: {said}", output.status.code());
        let error = format!("error: directory {path} has no file {missing} (CredentialsMissing)\n");
        ensure!(said.starts_with(&error) && said.contains("hint: Write"), "{said}");
        std::fs::write(folder.join("username"), CANARY)?;
    }
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}

/// A command on a terminal of its own; what it shows there.
async fn on_a_terminal(
    source: &SourceFixture,
    mut command: tokio::process::Command,
) -> Result<String> {
    let program = command.as_std().get_program().to_owned();
    let words: Vec<String> = std::iter::once(program.as_os_str())
        .chain(command.as_std().get_args())
        .map(|word| format!("'{}'", word.to_string_lossy().replace('\'', "'\\''")))
        .collect();
    let mut terminal = tokio::process::Command::new("script");
    terminal.args(["--quiet", "--return", "--command", &words.join(" "), "/dev/null"]);
    terminal.env("TERM", "xterm").kill_on_drop(true);
    for (name, value) in command.as_std().get_envs() {
        match value {
            Some(value) => terminal.env(name, value),
            None => terminal.env_remove(name),
        };
    }
    command.kill_on_drop(true);
    let output = source.env.output(terminal, "", Duration::from_mins(3)).await?;
    Ok(format!("{}\nexit {:?}", output.stdout.replace('\r', ""), output.code))
}

#[test]
fn run_on_a_terminal_shows_progress_and_ends_with_a_summary_card() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let source = SourceFixture::new(env, "terminal").await?;
        let sql = "create table t (id int primary key, at timestamp); \
                   insert into t select i, timestamp '2023-01-01' + i * interval '1 second' from generate_series(1, 5000) i";
        env.psql(&source.database, sql).await?;
        let mut job = source.job("public.t", "PE");
        job["spec"]["extract"]["watermark"] = json!({ "column": "at", "type": "timestamp" });
        job["spec"]["extract"]["partition"] = json!({ "column": "id", "count": 3 });
        let shown = on_a_terminal(&source, source.command("run", &job)?).await?;
        ensure!(shown.ends_with("exit Some(0)"), "{shown}");
        ensure!(shown.contains("planning"), "no progress: {shown}");
        for line in [
            "Run          0",
            "Window       watermark <= 2023-01-01 01:23:20",
            "Guard        unguarded",
            "Rows         5,000",
            "Files        3",
            "Bytes        ",
            "Duration     ",
            "Peak memory  ",
            "Watermark    2023-01-01 01:23:20",
        ] {
            ensure!(shown.contains(line), "no {line:?}: {shown}");
        }
        ensure!(!shown.contains("{\""), "JSON on a terminal: {shown}");

        let json = source.command("run --log-format json", &job)?;
        let shown = on_a_terminal(&source, json).await?;
        ensure!(shown.ends_with("exit Some(0)") && shown.contains("Rows         0"), "{shown}");
        ensure!(shown.contains(r#"{"timestamp""#), "no JSON: {shown}");
        ensure!(!shown.contains('\u{1b}'), "a bar among lines of JSON: {shown}");

        job["spec"]["extract"]["table"] = json!("public.missing");
        job["spec"]["output"]["uri"] = json!(format!("s3://{}/missing", source.bucket));
        let shown = on_a_terminal(&source, source.command("plan", &job)?).await?;
        ensure!(shown.ends_with("exit Some(10)"), "{shown}");
        ensure!(shown.contains("error:\u{1b}[0m ") && shown.contains("(TableNotFound)"), "{shown}");
        ensure!(shown.contains("hint:\u{1b}[0m "), "{shown}");
        Ok(())
    })
}

#[test]
fn run_without_a_terminal_prints_one_line_of_json_with_its_costs() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let source = SourceFixture::new(env, "piped").await?;
        env.psql(&source.database, "create table t (id int primary key)").await?;
        let printed = source.run(&source.job("public.t", "FE")).await?;
        ensure!(printed["durationSeconds"].is_u64(), "{printed}");
        ensure!(printed["peakMemoryBytes"].as_u64() > Some(1 << 20), "{printed}");
        Ok(())
    })
}

#[test]
fn manifest_is_read_from_standard_input() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let source = SourceFixture::new(env, "stdin").await?;
        env.psql(&source.database, "create table t (id int primary key)").await?;
        let job = source.job("public.t", "FE");
        let file = source.command("plan", &job)?;
        let mut command = env.command(binary("tidemark")?);
        command.args(["plan", "-f", "-"]);
        for (name, value) in file.as_std().get_envs() {
            command.env(name, value.unwrap_or_default());
        }
        let output = env.output(command, &job.to_string(), Duration::from_mins(1)).await?;
        ensure!(output.code == Some(0), "{}", output.stderr);
        ensure!(output.stdout.contains("public.t"), "{}", output.stdout);
        Ok(())
    })
}

#[test]
fn help_of_both_binaries_ends_with_exit_0_on_standard_output() -> Result<()> {
    for (name, arguments) in [
        ("tidemark", &["--help"][..]),
        ("tidemark", &["run", "--help"]),
        ("tidemark", &["recover", "--help"]),
        ("tidemark-operator", &["--help"]),
    ] {
        let output = program(name, arguments, &[])?;
        let text = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.code() == Some(0), "{arguments:?}: {:?}", output.status.code());
        ensure!(text.contains("Exit codes:") && text.contains("Examples:"), "{text}");
    }
    Ok(())
}
