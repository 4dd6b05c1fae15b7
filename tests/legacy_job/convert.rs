use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::{Release, SourceFixture, TestEnv};

use super::{Form, arguments, spelled, with};

/// A password that must not be printed.
const CANARY: &str = "canary-77";

const SOURCE: &str = "
source_name: shop
source_owners: [somebody@example.com]
extract:
  job_type: glue
  script_name: jdbc_extract_job.py
  source_type: jdbc
  arguments:
    --test: 1
  default_arguments:
    num_partitions: \"4\"
    fetchsize: \"1000\"
    extract_type: \"FE\"
    worker_no: \"2\"
    worker_type: Standard
  db_engine: postgres
  db_secret: postgres/shop
  db_port: \"5432\"
  db_name: shop
  tables:
    public.accounts:
      partition_column: AccountID
      lower_bound: 1
      upper_bound: \"1000\"
      extract_type: PE
      hwm_col_name: AccountID
      hwm_column_type: IntegerType
      lwm_value: 1
      hwm_value: -1
      repartition_dataframe: true
      extract_s3_partitions: AccountType
    public.Accounts: {}
    public.customers:
      hwm_col_name: changed_at
      hwm_column_type: TimestampType
      lwm_value: 2023-01-01
      hwm_value: \"None\"
";

#[test]
fn manifests_converted_from_legacy_calls_apply_cleanly() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        Release::crds(env).await?;
        let namespace = env.namespace("convert").await?;
        let source = SourceFixture::new(env, "convert").await?;
        let file = source.file("shop.yml");
        std::fs::write(&file, SOURCE)?;
        let path = file.display().to_string();
        let of_file = [
            "convert",
            "--sources-file",
            &path,
            "--uri",
            "s3://lake/extracts",
            "--tracking-table",
            "tracking",
        ];
        let mut printed = vec![convert(&source, &of_file.map(str::to_owned), &[]).await?];
        for form in [Form::Environment, Form::Glue, Form::Script] {
            let all = with(arguments(&source, "public.orders"), &[("db_password", CANARY)]);
            let (words, variables) = spelled(form, &all);
            let dashes = (!words.is_empty()).then(|| "--".to_owned());
            let words: Vec<_> =
                std::iter::once("convert".to_owned()).chain(dashes).chain(words).collect();
            printed.push(convert(&source, &words, &variables).await?);
        }
        // notes are of the form; manifests are not
        let manifest = |text: &String| -> Vec<String> {
            text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
        };
        ensure!(manifest(&printed[1]) == manifest(&printed[2]), "the forms differ: {printed:?}");
        ensure!(manifest(&printed[2]) == manifest(&printed[3]), "the forms differ: {printed:?}");
        let of_file = &printed[0];
        for part in [
            "uri: s3://lake/extracts/shop/shop/public/accounts",
            "name: public-accounts-2",
            "name: postgres/shop",
            "low: \"2023-01-01 00:00:00\"",
            "partitionBy:\n    - AccountType",
        ] {
            ensure!(of_file.contains(part), "no {part:?} in {of_file}");
        }
        ensure!(printed[1].contains("kubectl create secret generic"), "{}", printed[1]);
        for (text, count) in [(of_file, 3), (&printed[1], 1)] {
            ensure!(!text.contains(CANARY), "{text}");
            let dry = ["-n", &namespace, "apply", "--dry-run=server", "-f", "-"];
            let answer = env.kubectl_with(&dry, text).await?;
            ensure!(answer.lines().count() == count, "{answer}");
        }
        Ok(())
    })
}

/// What `tidemark convert` prints.
async fn convert(
    source: &SourceFixture,
    words: &[String],
    variables: &[(String, String)],
) -> Result<String> {
    let command = source.call(words, variables)?;
    let output = source.env.output(command, "", Duration::from_mins(1)).await?;
    ensure!(output.code == Some(0), "{}", output.stderr);
    Some(output.stdout).filter(|text| !text.is_empty()).context("nothing was printed")
}

#[test]
fn a_file_that_cannot_be_converted_prints_nothing_and_names_the_table() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let source = SourceFixture::new(env, "unconverted").await?;
        let file = source.file("shop.yml");
        std::fs::write(&file, SOURCE)?;
        let words = ["convert", "--sources-file", &file.display().to_string()].map(str::to_owned);
        let command = source.call(&words, &[])?;
        let output = env.output(command, "", Duration::from_mins(1)).await?;
        ensure!(output.code == Some(10) && output.stdout.is_empty(), "{}", output.stdout);
        for part in ["table public.", "--extract_s3_uri", "--tracking-table"] {
            ensure!(output.stderr.contains(part), "no {part}: {}", output.stderr);
        }
        Ok(())
    })
}
