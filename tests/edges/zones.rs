//! Columns without a zone, sessions of other zones, and the night in which a clock goes back.

use anyhow::{Result, ensure};
use crds::Reason;
use crds::tracking::Guard;
use harness::TestEnv;
use serde_json::json;
use worker_core::sql::rows::statements::{EXACT_CLOCK, LAG_CLOCK};

use crate::edge::{Ask, Edge, Follow, Who, grow_old};

/// Zones with the instant (UTC) at which their clock goes back, by an hour, by half of one, by two.
const NIGHTS: [(&str, &str); 4] = [
    ("Europe/Berlin", "2024-10-27 01:00"),
    ("America/New_York", "2024-11-03 06:00"),
    ("Australia/Lord_Howe", "2024-04-06 15:00"),
    ("Antarctica/Troll", "2024-10-27 01:00"),
];

/// A guard's statement as it would be answered at the instant `i.now`, with nobody else there.
fn at_instant(statement: &str) -> String {
    let text = statement.replace("$1", "n.zone").replace("secs => $2", "secs => 0");
    // the sessions that are there now began long after these nights
    text.replace("pg_catalog.statement_timestamp()", "i.now")
}

#[test]
fn when_clocks_go_back_no_bound_lies_above_a_repeated_local_time() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let edge = Edge::new(env, "night").await?;
        let mut session = edge.session().await?;
        for (zone, instant) in NIGHTS {
            let again = format!(
                "select timestamptz '{instant}+00' at time zone '{zone}' < \
                 (timestamptz '{instant}+00' - interval '1 second') at time zone '{zone}'"
            );
            ensure!(session.ask(again).await? == "true", "{zone}: no clock goes back at {instant}");
            for statement in [EXACT_CLOCK, LAG_CLOCK] {
                let bound = at_instant(statement);
                let above = format!(
                    "with n (zone, night) as (values (text '{zone}', timestamptz '{instant}+00')), \
                     i as (select night + make_interval(mins => 5 * m) as now from n, generate_series(-60, 60) m), \
                     b as (select i.now, ({bound})::timestamp as bound from i, n) \
                     select count(*) from b, i, n where i.now >= b.now and i.now at time zone n.zone < b.bound"
                );
                let above = session.ask(above).await?;
                ensure!(above == "0", "{zone}: {above} readings come again below a bound");
            }
        }
        Ok(())
    })
}

#[test]
fn a_zoneless_column_is_guarded_by_the_clock_of_its_zone() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        for zone in ["Pacific/Kiritimati", "America/New_York", "UTC"] {
            let edge = Edge::new(env, "zone").await?;
            let there = format!("set timezone = '{zone}'");
            edge.say(&format!(
                "{there}; create table t (k int, at timestamp not null default now()); \
                 insert into t values (1, now() - interval '1 hour')"
            ))
            .await?;
            let mut late = edge.session().await?;
            late.say(format!("{there}; begin; insert into t values (2)")).await?;
            edge.say(&format!("{there}; insert into t values (3)")).await?;
            grow_old(&mut late).await?;
            let watermark = json!({
                "column": "at", "type": "timestamp", "stampedBy": "database", "timeZone": zone
            });
            let mut follow = Follow::new(Ask::new(Who::Sees, "t", watermark));
            let first = follow.run(&edge).await?;
            ensure!(first.guard() == Guard::Exact && first.keys() == [1], "{zone}: {first:?}");
            late.say("commit").await?;
            follow.until(&edge, &[1, 2, 3]).await?;
        }
        Ok(())
    })
}

#[test]
fn the_zone_of_a_session_that_writes_instants_does_not_matter() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let edge = Edge::new(env, "fourteen").await?;
        let (user, there) = (edge.user(Who::Sees), "set timezone = 'Pacific/Kiritimati'");
        edge.say(&format!(
            "alter role {user} set timezone = 'Pacific/Kiritimati'; alter role {user} set datestyle = 'German'; \
             {there}; create table t (k int, at timestamptz not null default now()); \
             insert into t values (1, now() - interval '1 hour')"
        ))
        .await?;
        let mut late = edge.session().await?;
        late.say(format!("{there}; begin; insert into t values (2)")).await?;
        edge.say(&format!("{there}; insert into t values (3)")).await?;
        grow_old(&mut late).await?;
        let watermark = json!({ "column": "at", "type": "timestamp", "stampedBy": "database" });
        let mut follow = Follow::new(Ask::new(Who::Sees, "t", watermark));
        let first = follow.run(&edge).await?;
        ensure!(first.guard() == Guard::Exact && first.keys() == [1], "{first:?}");
        late.say("commit").await?;
        follow.until(&edge, &[1, 2, 3]).await
    })
}

#[test]
fn a_zoneless_column_without_its_zone_is_unguarded_and_an_unknown_zone_is_refused() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let edge = Edge::new(env, "nozone").await?;
        edge.say("create table t (k int, at timestamp default now()); insert into t values (1)")
            .await?;
        let watermark = |zone: Option<&str>| {
            let mut watermark =
                json!({ "column": "at", "type": "timestamp", "stampedBy": "database" });
            if let Some(zone) = zone {
                watermark["timeZone"] = json!(zone);
            }
            watermark
        };
        for who in [Who::Sees, Who::Blind] {
            let taken = edge.take(&Ask::new(who, "t", watermark(None))).await?;
            ensure!(taken.guard() == Guard::Unguarded, "{taken:?}");
            let warnings = &taken.plan.warnings;
            ensure!(
                warnings.len() == 1 && warnings[0].contains("extract.watermark.timeZone"),
                "{warnings:?}"
            );
        }
        let refused =
            edge.refused(&Ask::new(Who::Sees, "t", watermark(Some("Mars/Olympus")))).await?;
        ensure!(refused.report.reason == Reason::InvalidSpec, "{refused}");
        ensure!(refused.report.remedy.contains("pg_timezone_names"), "{refused}");
        Ok(())
    })
}
