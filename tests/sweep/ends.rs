//! Writes that end a run otherwise than well, and those that people ask for: FAIL and the uploads that it aborts, the
//! attempt that is fenced before it claimed, the undo of a stuck run, the watermark that is moved.

use anyhow::{Context, Result, ensure};
use harness::{Access, Calls, Fault, Gate, Proxy, Speaks, TestEnv};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::{Growing, RUN, Strike, is_whole, short};

/// The kinds of runs to go through.
fn kinds() -> &'static [&'static str] {
    if is_whole() { &["PE", "FE"] } else { &["PE"] }
}

impl Growing {
    /// A source whose table can be broken: a view that divides by zero in its last row.
    async fn breakable(kind: &str) -> Result<Self> {
        let mut growing = Self::new(TestEnv::shared()?, "ends", kind).await?;
        growing.table = "base";
        growing.sql("alter table t rename to base").await?;
        // by the time that it fails the other partition is recorded, so that there is an upload to abort; as another attempt
        // may help; and immutable, so that who asks for the greatest id does not call it
        growing
            .sql(
                "create function late(id int) returns int language plpgsql immutable as \
                 $$ begin perform pg_sleep(0.5); perform pg_cancel_backend(pg_backend_pid()); \
                 perform pg_sleep(5); return 1; end $$",
            )
            .await?;
        growing.correct().await?;
        Ok(growing)
    }

    async fn sql(&self, sql: &str) -> Result<()> {
        self.source.env.psql(&self.source.database, sql).await.map(|_| ())
    }

    async fn breaks(&self) -> Result<()> {
        self.view(&format!("case id when {} then public.late(id) else 1 end", self.rows)).await
    }

    async fn correct(&self) -> Result<()> {
        self.view("1").await
    }

    async fn view(&self, value: &str) -> Result<()> {
        self.sql(&format!("create or replace view t as select id, {value} v from base")).await
    }

    /// The run item.
    async fn run_item(&self) -> Result<Value> {
        self.source.run_item("public.t").await?.context("no run item")
    }

    /// Runs a command of an operator to its end.
    async fn tool(&self, words: &str) -> Result<harness::Output> {
        self.source.start(self.by_hand(words)?, None)?.ended(RUN).await
    }

    fn by_hand(&self, words: &str) -> Result<Command> {
        let mut command = self.source.command(words, &self.job)?;
        short(&mut command);
        Ok(command)
    }

    /// A run that was decided and cannot be completed: one of its two uploads is gone. Once somebody has tried, the
    /// other one is a file.
    async fn stuck(&mut self, tried: bool) -> Result<String> {
        self.grow().await?;
        Strike::After.at(&self.source, self.command()?, "decide", 0).await?;
        let bucket = &self.source.bucket;
        let s3 = self.source.env.s3(Access::Admin);
        let open = s3.list_multipart_uploads().bucket(bucket).send().await?;
        ensure!(open.uploads().len() == 2, "{} uploads", open.uploads().len());
        let last = open.uploads().last().context("an upload")?;
        let abort = s3.abort_multipart_upload().bucket(bucket);
        let (key, id) = (last.key().unwrap_or_default(), last.upload_id().unwrap_or_default());
        abort.key(key).upload_id(id).send().await?;
        if tried {
            let said = self.source.start(self.command()?, None)?.ended(RUN).await?;
            ensure!(said.stderr.contains("CommitStuck"), "{:?} {}", said.code, said.stderr);
        }
        Ok(self.run_item().await?["run"].as_str().context("run")?.to_owned())
    }
}

#[test]
fn a_run_that_fails_survives_every_death_and_every_lost_reply() -> Result<()> {
    TestEnv::shared()?.run(async {
        for kind in kinds() {
            for strike in Strike::ALL {
                let mut growing = Growing::breakable(kind).await?;
                for write in ["fail", "abort"] {
                    growing.grow().await?;
                    growing.breaks().await?;
                    strike.at(&growing.source, growing.command()?, write, 75).await?;
                    growing.correct().await?;
                    growing.goes_on(&format!("{kind} {}", strike.point(write))).await?;
                }
            }
        }
        Ok(())
    })
}

#[test]
fn a_run_that_is_recovered_survives_every_death_and_every_lost_reply() -> Result<()> {
    TestEnv::shared()?.run(async {
        for strike in Strike::ALL {
            // a pod that loses the reply to its FAIL reads what became of it; else the next one does
            for (write, dies, code) in
                [("raise", None, 75), ("fail", Some("record"), 0), ("abort", Some("record"), 75)]
            {
                let mut growing = Growing::new(TestEnv::shared()?, "recovered", "PE").await?;
                growing.grow().await?;
                growing.job["spec"]["extract"]["partition"]["count"] = json!(1);
                let task = growing.source.task(&growing.job, "recovered", 1);
                if let Some(point) = dies {
                    let mut command = growing.source.pod("coordinate", &task)?;
                    short(&mut command);
                    Strike::Before.at(&growing.source, command, point, 0).await?;
                }
                let recover = || {
                    let mut command = growing.source.recover_pod(&task, false)?;
                    short(&mut command);
                    anyhow::Ok(command)
                };
                strike.at(&growing.source, recover()?, write, code).await?;
                let output = growing.source.start(recover()?, None)?.ended(RUN).await?;
                ensure!(output.code == Some(0), "{:?} {}", output.code, output.stderr);
                // the attempt that was recovered is fenced, whether it had claimed or not
                let mut late = growing.source.pod("coordinate", &task)?;
                short(&mut late);
                let output = growing.source.start(late, None)?.ended(RUN).await?;
                ensure!(output.code == Some(20), "{write}: {:?} {}", output.code, output.stderr);
                growing.goes_on(&format!("recover {}", strike.point(write))).await?;
            }
        }
        Ok(())
    })
}

#[test]
fn the_undo_of_a_stuck_run_survives_every_death_and_every_lost_reply() -> Result<()> {
    TestEnv::shared()?.run(async {
        for kind in kinds() {
            for strike in Strike::ALL {
                let mut growing = Growing::new(TestEnv::shared()?, "undo", kind).await?;
                for write in ["force", "abort", "delete", "reverted"] {
                    let run = growing.stuck(write != "abort").await?;
                    let undo = format!("recover --by ann --force {run}");
                    strike.at(&growing.source, growing.by_hand(&undo)?, write, 75).await?;
                    if growing.run_item().await?["state"] == "committing" {
                        let said = growing.tool(&undo).await?;
                        ensure!(said.code == Some(0), "{:?} {}", said.code, said.stderr);
                    }
                    growing.goes_on(&format!("{kind} undo {}", strike.point(write))).await?;
                }
            }
        }
        Ok(())
    })
}

#[test]
fn a_watermark_that_is_moved_survives_every_death_and_every_lost_reply() -> Result<()> {
    TestEnv::shared()?.run(async {
        for strike in Strike::ALL {
            let mut growing = Growing::new(TestEnv::shared()?, "moved", "PE").await?;
            growing.grow().await?;
            growing.runs("nothing").await?;
            let before = growing.run_item().await?["revision"].as_u64().context("revision")?;
            let words = format!("watermark rewind --value 5 --by ann --revision {before}");
            let (gate, proxy) = (Gate::shut(), Proxy::start(Speaks::DynamoDb).await?);
            let fault = match strike {
                Strike::Before => Fault::Hold(gate.clone()),
                Strike::After => Fault::HoldReply(gate.clone()),
                Strike::Lost => Fault::LoseReply,
            };
            proxy.on("TransactWriteItems", Calls::Nth(1), fault);
            let mut far = growing.job.clone();
            far["spec"]["tracking"]["endpoint"] = json!(proxy.url());
            let mut process = growing.source.start(growing.source.command(&words, &far)?, None)?;
            if let Strike::Lost = strike {
                // the client asks again with its token, and learns that it was done
                let said = process.ended(RUN).await?;
                ensure!(said.code == Some(0), "{:?} {}", said.code, said.stderr);
            } else {
                gate.came(1, RUN).await?;
                process.die().await?;
            }
            // the gate stays shut: what it holds never arrives
            let after = growing.run_item().await?["revision"].as_u64().context("revision")?;
            // it holds once, or not at all; asked again it is made, or refused as made already
            let again = growing.tool(&words).await?;
            let (revision, code) = match strike {
                Strike::Before => (before, 0),
                Strike::After | Strike::Lost => (before + 1, 10),
            };
            ensure!(after == revision, "{strike:?}: revision {after}, not {revision}");
            ensure!(again.code == Some(code), "{strike:?}: {:?} {}", again.code, again.stderr);
            let taken = growing.source.run(&growing.job).await?;
            ensure!(taken["rows"] == 5 && taken["watermark"] == "10", "{strike:?}: {taken}");
        }
        Ok(())
    })
}
