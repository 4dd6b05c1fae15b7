//! 99 of 100 rows in one hundredth of the key's span.

use anyhow::{Result, ensure};
use harness::TestEnv;
use serde_json::{Value, json};
use worker_core::planning::partitions::Skew;

use crate::divided::{Divided, Shelf};

/// The slowest partition may have so much more rows than the median.
const EVEN: Skew = Skew::hundredths(130);

fn by(strategy: &str) -> Value {
    match strategy {
        "ctid" | "hash" => json!({ "strategy": strategy, "count": 8 }),
        _ => json!({ "strategy": strategy, "column": "n", "count": 8 }),
    }
}

fn even(divided: &Divided) -> Result<()> {
    let (skew, how) = (divided.skew(), divided.how()?);
    ensure!(divided.rows.len() == 8, "{:?}", divided.rows);
    ensure!(skew <= EVEN, "{skew}: {:?} {how:?}", divided.rows);
    Ok(())
}

/// A part of the table, in which the key is even: neither the ends of the table nor its statistics
/// say where those rows lie.
async fn window(shelf: &Shelf) -> Result<()> {
    for partition in
        [by("quantile"), by("hash"), json!({ "strategy": "auto", "column": "n", "count": 8 })]
    {
        let divided = shelf.divide_window("t", &partition, "", Some((100_001, 190_000))).await?;
        let divided = divided.map_err(|failure| anyhow::anyhow!("{}", failure.report))?;
        even(&divided)?;
        let expected: Vec<i64> = (100_001..=190_000).collect();
        ensure!(divided.keys == expected, "{partition}: {} rows", divided.keys.len());
    }
    Ok(())
}

#[test]
fn quantile_and_ctid_are_even_on_a_skewed_key_of_postgres() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let shelf = Shelf::postgres(env, "skewed").await?;
        shelf
            .say(
                "create table t (n bigint primary key, pad text) with (autovacuum_enabled = off);
                 insert into t select case when g <= 198000 then g else g * 99 end, repeat('x', 180)
                 from generate_series(1, 200000) g",
            )
            .await?;
        for (analyzed, seen) in
            [(false, "a sample of the table's blocks"), (true, "the server's statistics")]
        {
            if analyzed {
                shelf.say("analyze t").await?;
            }
            let quantile = shelf.divide("t", &by("quantile")).await?;
            even(&quantile)?;
            ensure!(quantile.how()?.reason.contains(seen), "{:?}", quantile.how()?);
            ensure!(quantile.predicted()? <= EVEN, "{:?}", quantile.how()?);
            even(&shelf.divide("t", &by("ctid")).await?)?;
            let auto = shelf.divide("t", &json!({ "strategy": "auto", "count": 8 })).await?;
            even(&auto)?;
            ensure!(auto.strategy()? == "quantile", "{:?}", auto.how()?);
            ensure!(auto.how()?.reason.contains("would have skew"), "{:?}", auto.how()?);
        }
        window(&shelf).await?;
        let strides = shelf.divide("t", &by("range")).await?;
        ensure!(strides.skew() > Skew::hundredths(10_000), "{:?}", strides.rows);
        ensure!(strides.predicted()? > Skew::hundredths(10_000), "{:?}", strides.how()?);
        Ok(())
    })
}

#[test]
fn quantile_is_even_on_a_skewed_key_of_mariadb() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let shelf = Shelf::mariadb(env, "maria-skewed").await?;
        shelf
            .say(
                "create table t (n bigint primary key, pad varchar(200));
                 insert into t select if(seq <= 198000, seq, seq * 99), repeat('x', 180) from seq_1_to_200000;
                 analyze table t;
                 create table bare as select * from t; analyze table bare",
            )
            .await?;
        let bare = shelf.divide("bare", &by("quantile")).await?;
        even(&bare)?;
        ensure!(bare.how()?.reason.contains("a sample of the table's rows"), "{:?}", bare.how()?);
        let quantile = shelf.divide("t", &by("quantile")).await?;
        even(&quantile)?;
        let seen = "the server's index estimates";
        ensure!(quantile.how()?.reason.contains(seen), "{:?}", quantile.how()?);
        ensure!(quantile.predicted()? <= EVEN, "{:?}", quantile.how()?);
        even(&shelf.divide("t", &by("hash")).await?)?;
        let auto = shelf.divide("t", &json!({ "strategy": "auto", "count": 8 })).await?;
        even(&auto)?;
        ensure!(auto.strategy()? == "quantile", "{:?}", auto.how()?);
        window(&shelf).await?;
        Ok(())
    })
}
