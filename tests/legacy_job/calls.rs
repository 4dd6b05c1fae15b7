use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::{Access, LegacyJob, SourceFixture, TestEnv, wait_until};
use serde_json::json;

use super::{Form, arguments, call, reason, spelled, try_call, with};

#[test]
fn a_call_in_each_form_runs_unchanged() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let source = SourceFixture::new(env, "forms").await?;
        let db = &source.database;
        env.psql(db, "create table t (id int primary key, a text, b text, price numeric(12,2))").await?;
        let arguments = arguments(&source, "public.t");
        for (turn, form) in [Form::Environment, Form::Glue, Form::Script].into_iter().enumerate() {
            let first = turn * 10;
            let rows = format!(
                "insert into t select {first} + i, 'ab', nullif('c' || i, 'c3'), i * 1.5 from generate_series(1, 10) i"
            );
            env.psql(db, &rows).await?;
            let output = try_call(&source, form, &arguments).await?;
            ensure!(output.code == Some(0), "{form:?}: {}", output.stderr);
            let said: serde_json::Value = serde_json::from_str(output.stdout.trim())?;
            ensure!(said["rows"] == 10 && said["watermark"] == json!((first + 10).to_string()), "{said}");
            for part in ["TLS_MODE", "fetchsize is not used", "not used by a PE"] {
                ensure!(output.stderr.contains(part), "{form:?}: no warning of {part}: {}", output.stderr);
            }
            let item = source.watermark_item("public.t").await?.context("watermark item")?;
            LegacyJob::knows(&item)?;
            ensure!(item["hwm_value"] == "-1" && item["extract_successful"] == "Y", "{item}");
        }
        the_output_is_the_legacy_jobs(&source).await
    })
}

/// A folder for each run's time, and a hash that another program makes of the same row.
async fn the_output_is_the_legacy_jobs(source: &SourceFixture) -> Result<()> {
    let env = source.env;
    let keys = env.keys(&source.bucket, "public.t/jdbc_extract_time=").await?;
    // two partitions of each of three runs
    ensure!(keys.len() == 6 && keys.iter().all(|key| key.contains("/part-")), "{keys:?}");
    let folder = env
        .read_parquet(
            &source.bucket,
            "public.t",
            "select count(distinct jdbc_extract_time) n, \
             bool_and(regexp_matches(jdbc_extract_time, '^\\d{4}-\\d\\d-\\d\\d_\\d\\d-\\d\\d-\\d\\d$')) form from h",
        )
        .await?;
    ensure!(folder[0]["form"] == true && folder[0]["n"] != 0, "{}", folder[0]);
    let found =
        env.read_parquet(&source.bucket, "public.t", "select id, hash from t order by id").await?;
    let field = |column: &str, send: &str| {
        format!(
            "case when {column} is null then int4send(-1) else int4send(length({send}({column}))) || {send}({column}) end"
        )
    };
    let row = [
        field("id", "int4send"),
        field("a", "textsend"),
        field("b", "textsend"),
        field("price", "numeric_send"),
    ];
    let sql = format!(
        "select json_agg(json_build_object('id', id, 'hash', encode(sha256({}), 'hex')) order by id) from t",
        row.join(" || ")
    );
    let expected: serde_json::Value =
        serde_json::from_str(&env.psql(&source.database, &sql).await?)?;
    ensure!(json!(found) == expected, "read {found:?}\nwant {expected}");
    Ok(())
}

#[test]
fn a_legacy_call_can_ask_for_a_verified_connection() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let source = SourceFixture::new(env, "verified").await?;
        env.psql(&source.database, "create table t (id int primary key)").await?;
        let verified = with(arguments(&source, "public.t"), &[("tls_mode", "verifyFull")]);
        // the authority of the test environment is not a public one
        let output = try_call(&source, Form::Environment, &verified).await?;
        ensure!(output.code == Some(10) && reason(&output)? == "TlsFailed", "{}", output.stderr);
        let mut all = verified;
        all.push(("tidemark_ca_file".to_owned(), env.ca().display().to_string()));
        call(&source, Form::Environment, &all).await?;
        Ok(())
    })
}

#[test]
fn a_call_for_mysql_runs_in_each_form() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let source = SourceFixture::mariadb(env, "calls-mysql").await?;
        env.mariadb(
            &source.database,
            "create table t (id int primary key, name varchar(9)); insert into t select seq, 'a' from seq_1_to_1000",
        )
        .await?;
        let port = TestEnv::MARIADB_PORT.to_string();
        let changes =
            [("db_engine", "mysql"), ("db_port", port.as_str()), ("db_user", TestEnv::MARIADB_USER)];
        let arguments = with(arguments(&source, "t"), &changes);
        for (form, rows) in [(Form::Environment, 1000), (Form::Glue, 0), (Form::Script, 0)] {
            let said = call(&source, form, &arguments).await?;
            ensure!(said["rows"] == rows, "{form:?}: {said}");
        }
        Ok(())
    })
}

#[test]
fn a_contradictory_call_is_refused_with_a_remedy() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let source = SourceFixture::new(env, "unmeant").await?;
        for (changes, part) in [
            (&[("db_engine", "oracle")][..], "postgres nor mysql"),
            (&[("extract_table", ""), ("db_name", "None")], "--db_name, --extract_table"),
            (&[("hwm_value", "canary-3e")], "hwm_value"),
        ] {
            let output =
                try_call(&source, Form::Script, &with(arguments(&source, "public.t"), changes))
                    .await?;
            ensure!(
                output.code == Some(10) && reason(&output)? == "InvalidSpec",
                "{}",
                output.stderr
            );
            ensure!(
                output.stderr.contains(part) && output.stderr.contains("remedy"),
                "{part}: {}",
                output.stderr
            );
            ensure!(!output.stderr.contains("canary"), "a value was shown: {}", output.stderr);
        }
        ensure!(source.watermark_item("public.t").await?.is_none(), "an item was written");
        Ok(())
    })
}

#[test]
fn a_full_extract_writes_given_bounds_back_and_else_leaves_the_item() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let source = SourceFixture::new(env, "bounds").await?;
        env.psql(
            &source.database,
            "create table t (id int); insert into t select generate_series(1, 100)",
        )
        .await?;
        let full =
            with(arguments(&source, "public.t"), &[("extract_type", "FE"), ("lwm_value", "-1")]);
        let said = call(&source, Form::Script, &full).await?;
        let item = source.watermark_item("public.t").await?.context("watermark item")?;
        ensure!(said["rows"] == 100 && item["hwm_value"] == "-1", "{said} {item}");
        let bounded = with(full.clone(), &[("lwm_value", "10"), ("hwm_value", "20")]);
        let said = call(&source, Form::Glue, &bounded).await?;
        let item = source.watermark_item("public.t").await?.context("watermark item")?;
        ensure!(
            said["rows"] == 11 && item["lwm_value"] == "10" && item["hwm_value"] == "20",
            "{said} {item}"
        );
        let said = call(&source, Form::Script, &full).await?;
        let item = source.watermark_item("public.t").await?.context("watermark item")?;
        ensure!(
            said["rows"] == 100 && item["lwm_value"] == "10" && item["hwm_value"] == "20",
            "{said} {item}"
        );
        // the incremental run that follows takes the window of the item, and then all that is newer
        let incremental = arguments(&source, "public.t");
        for (rows, low) in [(10, "20"), (80, "100"), (0, "100")] {
            let said = call(&source, Form::Environment, &incremental).await?;
            let item = source.watermark_item("public.t").await?.context("watermark item")?;
            ensure!(said["rows"] == rows && item["lwm_value"] == low, "{said} {item}");
        }
        Ok(())
    })
}

/// An upload that a dead process of the run left is found in a folder of its time too.
#[test]
fn uploads_that_a_dead_process_left_in_a_time_directory_are_aborted() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let source = SourceFixture::new(env, "orphan").await?;
        let rows = "create table t (id int); insert into t select generate_series(1, 10)";
        env.psql(&source.database, rows).await?;
        let one_partition = with(arguments(&source, "public.t"), &[("partition_column", "")]);
        let (words, variables) = spelled(Form::Glue, &one_partition);
        let gate = source.file("gate");
        let mut command = source.call(&words, &variables)?;
        command.env("TIDEMARK_TEST_PAUSE", format!("before-record={}", gate.display()));
        let meanwhile = async {
            wait_until("the pause", Duration::from_mins(1), async || {
                ensure!(gate.exists(), "not there yet");
                Ok(())
            })
            .await?;
            let s3 = env.s3(Access::Admin);
            let open = s3.list_multipart_uploads().bucket(&source.bucket).send().await?;
            let own =
                open.uploads().first().and_then(|upload| upload.key()).context("an upload")?;
            ensure!(own.contains("jdbc_extract_time="), "{own}");
            let left = own.replace("-000.parquet", "-left.parquet");
            s3.create_multipart_upload().bucket(&source.bucket).key(left).send().await?;
            ensure!(source.open_uploads().await? == 2, "two open uploads");
            Ok::<_, anyhow::Error>(std::fs::remove_file(&gate)?)
        };
        let (output, meanwhile) =
            tokio::join!(env.output(command, "", Duration::from_mins(2)), meanwhile);
        meanwhile?;
        let output = output?;
        ensure!(output.code == Some(0), "{}", output.stderr);
        ensure!(source.open_uploads().await? == 0, "an upload stays open");
        Ok(())
    })
}
