//! DynamoDB, and what people and the legacy job do to its items: T42 to T48.

use std::collections::HashMap;

use anyhow::{Context, Result, ensure};
use aws_sdk_dynamodb::types::AttributeValue;
use harness::{Calls, Fault, Gate, Output};
use serde_json::{Value, json};

use crate::{Bench, RUN, TABLE, in_env, printed, refused, short, unrenewed};

/// Writes of an incremental run: CLAIM, PIN, DECIDE, Y, CLEAR.
const WRITES: u32 = 5;

#[test]
fn t42_of_32_processes_that_claim_at_once_one_wins() -> Result<()> {
    in_env(async {
        let bench = Bench::new("t42", "FE", 100, 1).await?;
        // all have read that nobody holds the source before the first may write that it does
        let (all, winner) = (Gate::shut(), Gate::shut());
        bench.dynamodb.on("TransactWriteItems", Calls::UpTo(32), Fault::Hold(all.clone()));
        bench.s3.on("PutObject", Calls::Nth(1), Fault::Hold(winner.clone()));
        let mut planners = Vec::new();
        for _ in 0..32 {
            let mut command = bench.command("run --no-wait")?;
            unrenewed(&mut command);
            command
                .env("TIDEMARK_ATTEMPT_SECONDS", "60")
                .env("TIDEMARK_TRACKING_ATTEMPT_SECONDS", "60");
            planners.push(bench.source.start(command, None)?);
        }
        all.came(32, RUN).await?;
        all.open();
        winner.came(1, RUN).await?;
        let mut ended: Vec<Output> = Vec::new();
        let mut holds = None;
        for mut planner in planners {
            if planner.log()?.contains("put-source") {
                holds = Some(planner);
            } else {
                ended.push(planner.ended(RUN).await?);
            }
        }
        ensure!(ended.len() == 31, "{} lost", ended.len());
        for lost in &ended {
            refused(lost, 20, "SourceBusy")?;
        }
        winner.open();
        printed(&holds.context("nobody won")?.ended(RUN).await?)?;
        let item = bench.item().await?;
        ensure!(item["commit"] == 1 && item["revision"] == WRITES, "{item}");
        let scan = bench.env.dynamodb().scan().table_name(&bench.source.table).send().await?;
        ensure!(
            scan.count() == 3,
            "{} items, of the source, the run and one outcome",
            scan.count()
        );
        bench.whole().await
    })
}

#[test]
fn t43_a_table_that_throttles_nine_of_ten_writes_loses_none() -> Result<()> {
    in_env(async {
        let mut bench = Bench::new("t43", "PE", 500, 2).await?;
        let throttled = || Fault::Answer(400, "ProvisionedThroughputExceededException");
        bench.dynamodb.on("TransactWriteItems", Calls::Percent(90, 3), throttled());
        bench.dynamodb.on("GetItem", Calls::Percent(50, 4), throttled());
        // before CLAIM a run gives up after eight attempts and leaves nothing: the caller comes again
        let mut runs = 0;
        for rows in [0, 10] {
            bench.grow(rows).await?;
            loop {
                let output = bench.run().await?;
                runs += 1;
                if output.code == Some(0) {
                    break;
                }
                refused(&output, 75, "TrackingUnreachable")?;
                ensure!(runs < 30, "no run came through");
            }
        }
        let writes = bench.dynamodb.asked("TransactWriteItems");
        let done = writes.iter().filter(|write| write.status == Some(200)).count();
        ensure!(writes.len() > 4 * done, "{done} of {} held", writes.len());
        let item = bench.item().await?;
        ensure!(item["revision"] == done && item["commit"] == 2, "{done} writes held: {item}");
        bench.dynamodb.heal();
        bench.whole().await
    })
}

#[test]
fn t44_a_write_with_a_lost_reply_is_recognized_after_its_token_expired() -> Result<()> {
    in_env(async {
        let mut bench = Bench::new("t44", "PE", 100, 1).await?;
        for write in 1..=WRITES {
            bench.dynamodb.heal();
            bench.dynamodb.on("TransactWriteItems", Calls::Nth(write), Fault::LoseReply);
            bench.dynamodb.on("TransactWriteItems", Calls::Nth(write), Fault::NewToken);
            let before = bench.dynamodb.asked("TransactWriteItems").len();
            bench.grow(10).await?;
            let mut command = bench.command("run")?;
            // a renewal would be a write more
            unrenewed(&mut command);
            let output = bench.source.start(command, None)?.ended(RUN).await?;
            let said = printed(&output).with_context(|| format!("write {write}"))?;
            ensure!(said["watermark"] == json!(bench.rows.to_string()), "{said}");
            let sent = bench.dynamodb.asked("TransactWriteItems").split_off(before);
            let refused = sent.iter().filter(|sent| sent.status == Some(400)).count();
            ensure!(refused == 1, "write {write}: {refused} were refused of {}", sent.len());
            let item = bench.item().await?;
            ensure!(item["revision"] == write * WRITES, "write {write}: {item}");
        }
        bench.whole().await
    })
}

#[test]
fn t45_every_read_that_decides_is_a_consistent_one() -> Result<()> {
    in_env(async {
        let mut bench = Bench::new("t45", "PE", 100, 1).await?;
        bench.publishes().await?;
        bench.grow(10).await?;
        // takeover, continuation, recovery and the tools read too
        bench.paused("after-pin").await?.die().await?;
        bench.publishes().await?;
        bench.grow(10).await?;
        bench.paused("after-decide").await?.die().await?;
        bench.publishes().await?;
        let task = bench.source.task(&bench.job, "somebody-else", 1);
        let mut recover = bench.source.recover_pod(&task, true)?;
        short(&mut recover);
        for command in [recover, bench.command("verify")?, bench.command("watermark get")?] {
            let output = bench.source.start(command, None)?.ended(RUN).await?;
            ensure!(output.code == Some(0), "{}", output.stderr);
        }
        let reads = bench.dynamodb.asked("GetItem");
        ensure!(reads.len() > 20, "only {} reads", reads.len());
        let stale: Vec<&Value> = reads
            .iter()
            .map(|read| &read.body)
            .filter(|body| body["ConsistentRead"] != true)
            .collect();
        ensure!(stale.is_empty(), "{stale:?}");
        let known = ["GetItem", "TransactWriteItems", "DescribeTable"];
        let others: Vec<_> = bench.dynamodb.asked("*");
        let others: Vec<_> =
            others.iter().filter(|asked| !known.contains(&asked.operation.as_str())).collect();
        ensure!(others.is_empty(), "{others:?}");
        bench.whole().await
    })
}

fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

/// All attributes of the legacy job's item, as it puts them.
fn old_item(bench: &Bench, lwm: AttributeValue) -> HashMap<String, AttributeValue> {
    let attributes = [
        ("hwm_value", "-1"),
        ("hwm_col_name", "id"),
        ("hwm_column_type", "int"),
        ("extract_type", "PE"),
        ("updated_at", "2024-05-01 10:00:00"),
        ("extract_successful", "Y"),
        ("extract_metadata", "{\"row_count\": 7}"),
    ];
    let mut item: HashMap<String, AttributeValue> =
        attributes.map(|(name, value)| (name.to_owned(), text(value))).into();
    item.insert("source".to_owned(), text(&bench.source.key(TABLE)));
    item.insert("lwm_value".to_owned(), lwm);
    item
}

async fn put(bench: &Bench, item: HashMap<String, AttributeValue>) -> Result<()> {
    let put = bench.env.dynamodb().put_item().table_name(&bench.source.table);
    put.set_item(Some(item)).send().await?;
    Ok(())
}

async fn delete(bench: &Bench, key: &str) -> Result<()> {
    let delete = bench.env.dynamodb().delete_item().table_name(&bench.source.table);
    delete.key("source", text(key)).send().await?;
    Ok(())
}

#[test]
fn t46_an_item_is_continued_or_refused_and_never_overwritten_blindly() -> Result<()> {
    in_env(async {
        let mut bench = Bench::new("t46", "PE", 100, 1).await?;
        // as no release and no legacy job writes it
        put(&bench, old_item(&bench, AttributeValue::N("40".to_owned()))).await?;
        let before = bench.legacy().await?;
        let output = bench.run().await?;
        refused(&output, 10, "TrackingUnreadable")?;
        ensure!(bench.legacy().await? == before, "it was written over");
        ensure!(bench.source.run_item(TABLE).await?.is_none(), "the source was claimed");

        // as the legacy job leaves it, with what people have added
        let mut item = old_item(&bench, text("40"));
        item.insert("team".to_owned(), text("sales"));
        item.insert("priority".to_owned(), AttributeValue::N("3".to_owned()));
        put(&bench, item).await?;
        let said = bench.publishes().await?;
        ensure!(said["rows"] == 60 && said["watermark"] == "100", "{said}");
        let legacy = bench.legacy().await?;
        ensure!(legacy["team"] == "sales" && legacy["priority"] == 3, "{legacy}");
        ensure!(legacy["lwm_value"] == "100" && legacy["extract_successful"] == "Y", "{legacy}");

        // the run item too
        bench.grow(10).await?;
        let key = format!("{}#tidemark", bench.source.key(TABLE));
        let update = bench.env.dynamodb().update_item().table_name(&bench.source.table);
        let update = update.key("source", text(&key)).update_expression("SET #rev = :rev");
        let update = update.expression_attribute_names("#rev", "revision");
        update.expression_attribute_values(":rev", text("five")).send().await?;
        let before = bench.item().await?;
        refused(&bench.run().await?, 10, "TrackingUnreadable")?;
        ensure!(bench.item().await? == before, "it was written over");
        Ok(())
    })
}

#[test]
fn t47_an_item_that_is_deleted_during_a_run_fails_it_and_is_no_first_run() -> Result<()> {
    in_env(async {
        let mut bench = Bench::new("t47", "PE", 100, 1).await?;
        bench.publishes().await?;
        bench.grow(10).await?;
        let source = bench.source.key(TABLE);
        let kept = bench.legacy().await?["lwm_value"].as_str().context("lwm")?.to_owned();
        for key in [source.clone(), format!("{source}#tidemark")] {
            let mut run = bench.paused("before-record").await?;
            delete(&bench, &key).await?;
            run.go_on()?;
            let output = run.ended(RUN).await?;
            refused(&output, 10, "TrackingLost").with_context(|| key.clone())?;
            ensure!(
                bench.env.item(&bench.source.table, &key).await?.is_none(),
                "{key} was made anew"
            );
            refused(&bench.run().await?, 10, "TrackingLost").with_context(|| key.clone())?;
            ensure!(
                bench.env.item(&bench.source.table, &key).await?.is_none(),
                "{key} was made anew"
            );
            // a person puts the item back
            put(&bench, old_item(&bench, text(&kept))).await?;
        }
        // without its run item the source goes on by a reingest
        bench.job["spec"]["extract"]["reingest"] = json!(true);
        let said = bench.publishes().await?;
        ensure!(said["rows"] == 110, "{said}");
        Ok(())
    })
}

#[test]
fn t48_a_write_of_the_legacy_job_during_a_run_is_noticed_and_its_watermark_wins() -> Result<()> {
    in_env(async {
        let mut bench = Bench::new("t48", "PE", 100, 1).await?;
        bench.publishes().await?;
        // undecided: the run is given up, and the next begins where the legacy job ended
        bench.grow(10).await?;
        let mut run = bench.paused("after-pin").await?;
        put(&bench, old_item(&bench, text("105"))).await?;
        run.go_on()?;
        refused(&run.ended(RUN).await?, 75, "WatermarkMoved")?;
        ensure!(bench.legacy().await?["lwm_value"] == "105", "{}", bench.legacy().await?);
        let said = bench.publishes().await?;
        ensure!(said["rows"] == 5 && said["window"]["low"] == "105", "{said}");
        // decided: the run is published, and the legacy job's watermark stays
        bench.grow(10).await?;
        let mut run = bench.paused("after-decide").await?;
        put(&bench, old_item(&bench, text("118"))).await?;
        run.go_on()?;
        printed(&run.ended(RUN).await?)?;
        ensure!(bench.legacy().await?["lwm_value"] == "118", "{}", bench.legacy().await?);
        let item = bench.item().await?;
        ensure!(item["report"]["reason"] == "WatermarkMoved", "{item}");
        let said = bench.publishes().await?;
        ensure!(said["rows"] == 2 && said["window"]["low"] == "118", "{said}");
        // what the legacy job writes over is found where the text is the same too
        let mut run = bench.paused("after-pin").await?;
        put(&bench, old_item(&bench, text("120"))).await?;
        run.go_on()?;
        printed(&run.ended(RUN).await?)?;
        ensure!(bench.legacy().await?["lwm_value"] == "120", "{}", bench.legacy().await?);
        Ok(())
    })
}
