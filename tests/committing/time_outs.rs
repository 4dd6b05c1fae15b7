//! DynamoDB that does not answer.

use std::time::Duration;

use anyhow::{Result, ensure};
use harness::{Calls, Fault, Gate, Proxy, Speaks};
use serde_json::json;

use crate::{Bench, in_env, printed};

/// The first call of each kind times out and is sent again while the claim lasts.
async fn stalled(operation: &str) -> Result<()> {
    let mut bench = Bench::new("stall", "PE", 10).await?;
    let dynamodb = Proxy::start(Speaks::DynamoDb).await?;
    bench.job["spec"]["tracking"]["endpoint"] = json!(dynamodb.url());
    dynamodb.on(operation, Calls::Nth(1), Fault::Hold(Gate::shut()));
    printed(&bench.run(&[]).await?)?;
    let asked = dynamodb.asked(operation);
    let [first, second, ..] = asked.as_slice() else {
        anyhow::bail!("{operation} was asked {} times", asked.len())
    };
    ensure!(first.status.is_none(), "{operation}: the first call was answered");
    let gap = second.at - first.at;
    let expected = Duration::from_millis(4900)..Duration::from_secs(15);
    ensure!(expected.contains(&gap), "{operation} was sent again after {gap:?}");
    Ok(())
}

#[test]
fn dynamodb_call_that_stalls_is_sent_again_after_five_seconds() -> Result<()> {
    in_env(async {
        let (read, described, written) = tokio::join!(
            stalled("GetItem"),
            stalled("DescribeTable"),
            stalled("TransactWriteItems")
        );
        read?;
        described?;
        written
    })
}

#[test]
fn lease_of_at_most_two_renewals_is_refused_before_anything_is_written() -> Result<()> {
    in_env(async {
        let bench = Bench::new("lease", "FE", 10).await?;
        for sub_command in ["run", "plan", "verify", "watermark get"] {
            let lease = [("TIDEMARK_LEASE_SECONDS", "360")];
            let output = bench.command(sub_command, &lease).await?;
            ensure!(output.code == Some(2), "{sub_command}: {:?} {}", output.code, output.stderr);
            for word in [
                "error: ",
                "a lease of 360 s",
                "180 s between renewals",
                "hint: ",
                "TIDEMARK_RENEW_SECONDS",
                "Usage: tidemark",
            ] {
                ensure!(output.stderr.contains(word), "{sub_command}: {}", output.stderr);
            }
        }
        ensure!(bench.source.run_item(crate::TABLE).await?.is_none(), "a run was claimed");
        printed(&bench.run(&[("TIDEMARK_LEASE_SECONDS", "361")]).await?)?;
        Ok(())
    })
}
