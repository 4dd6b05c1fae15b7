//! Keys and tables of MariaDB.

use anyhow::{Result, ensure};
use harness::{Mysql, TestEnv};
use serde_json::json;

use crate::divided::Shelf;

async fn many(shelf: &Shelf) -> Result<()> {
    // a type of MariaDB alone
    let uuid = if Mysql::of_env().is_mariadb() { "u uuid" } else { "u char(36)" };
    shelf
        .say(
            &"set time_zone = '+00:00', sql_mode = '';
             create table many (n int primary key, i bigint, b bigint unsigned, d decimal(30,4),
                 w decimal(65,30), dd date, dt datetime(6), ts timestamp null, u uuid,
                 t varchar(80), ci varchar(40) character set latin1 collate latin1_swedish_ci,
                 bi varchar(40) collate utf8mb4_bin, sj varchar(20) character set sjis, tx text, o int,
                 e enum('b','a'), by_ varbinary(40), y double, one int);
             insert into many select seq, if(seq % 2 = 0, seq, -seq * 1000000000000),
                 18446744073709551615 - seq * 1000000, seq / 7, seq * 1000000000 / 7,
                 date'2024-01-01' + interval seq % 400 day, timestamp'2024-01-01 00:00:00' + interval seq * 61.5 second,
                 timestamp'2024-01-01 00:00:00' + interval seq second, md5(seq),
                 case seq % 4 when 0 then upper(md5(seq)) when 1 then concat('it''s \\\\ ', seq)
                     when 2 then concat('é', seq) else concat('E', seq) end,
                 concat(if(seq % 2, 'größe', 'GRÖSSE'), seq % 300), concat(if(seq % 2, 'a', 'A'), seq),
                 concat('日', seq % 90), repeat(md5(seq), 20), if(seq % 3, null, seq),
                 1 + seq % 2, unhex(md5(seq)), seq / 3, 7 from seq_1_to_3000;
             insert into many (n, i, b, d, dd, dt, t, ci, tx) values
                 (100001, 9223372036854775807, 18446744073709551615, 99999999999999999999999999.9999,
                     '9999-12-31', '9999-12-31 23:59:59.999999', '', '', ''),
                 (100002, -9223372036854775808, 0, -99999999999999999999999999.9999, '0000-00-00',
                     '0000-00-00', 'a\\0b', 'Ä', repeat('z', 3000)),
                 (100003, 0, 1, 0, '2023-00-15', '1000-01-01', null, null, null)"
                .replace("u uuid", uuid)
                // MySQL 9 has no md5() without a component
                .replace("md5(seq)", "left(sha2(seq, 256), 32)"),
        )
        .await
        .map(|_| ())
}

#[test]
fn every_row_is_in_exactly_one_partition_for_each_key_and_strategy() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let shelf = Shelf::mariadb(env, "maria-ranges").await?;
        many(&shelf).await?;
        let cut = [
            "n", "i", "b", "d", "w", "dd", "dt", "ts", "u", "t", "ci", "bi", "sj", "tx", "o", "one",
        ];
        for key in cut {
            for count in [2, 7] {
                let quantile = json!({ "column": key, "strategy": "quantile", "count": count });
                let divided = shelf.divide("many", &quantile).await?;
                let partitions = divided.plan.partitions.len();
                let alone = matches!(key, "one" | "tx");
                ensure!(partitions <= count && (partitions > 1 || alone), "{key}: {partitions}");
            }
        }
        for key in ["n", "i", "b", "d", "w", "dd", "dt", "ts", "o", "one"] {
            shelf.divide("many", &json!({ "column": key, "count": 6 })).await?;
        }
        // strides beyond 63 bits
        let unsigned = shelf.divide("many", &json!({ "column": "b", "count": 2 })).await?;
        let bound = unsigned.plan.partitions[1].from.as_deref();
        ensure!(bound == Some("9223372036854775808"), "{bound:?}");
        for key in cut.into_iter().chain(["e", "by_", "y"]) {
            let hash = json!({ "column": key, "strategy": "hash", "count": 4 });
            ensure!(shelf.divide("many", &hash).await?.plan.partitions.len() == 4, "{key}");
            let auto = json!({ "column": key, "strategy": "auto", "count": 4 });
            let divided = shelf.divide("many", &auto).await?;
            // what cannot be cut, or has NULL or one value in most rows: the primary key parts them
            let uncut = matches!(key, "e" | "by_" | "y" | "one" | "o");
            ensure!(uncut == (divided.strategy()? == "hash"), "{key}: {:?}", divided.how()?);
        }
        for (partition, strategy) in [
            (json!({ "strategy": "hash", "count": 5 }), "hash"),
            // three rows lie far off
            (json!({ "strategy": "auto", "count": 5 }), "quantile"),
            (json!({ "strategy": "auto" }), "none"),
            (json!({ "column": "n", "rebalance": true, "count": 5 }), "quantile"),
        ] {
            let divided = shelf.divide("many", &partition).await?;
            ensure!(divided.strategy()? == strategy, "{partition}: {:?}", divided.how()?);
        }
        let hashed = shelf.divide("many", &json!({ "strategy": "hash", "count": 8 })).await?;
        ensure!(hashed.skew().to_string().as_str() < "1.30", "{:?}", hashed.rows);
        Ok(())
    })
}

#[test]
fn tables_of_every_kind_are_partitioned_or_refused_with_a_remedy() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let shelf = Shelf::mariadb(env, "maria-shapes").await?;
        shelf
            .say(
                "create table tenants (tenant varchar(9) character set latin1, n int, primary key (tenant, n));
                 insert into tenants select 'shop', seq from seq_1_to_4000;
                 create table bare (n int); insert into bare select seq from seq_1_to_900;
                 create view seen as select n, n % 10 tens from bare;
                 create table parts (n int primary key) partition by hash (n) partitions 3;
                 insert into parts select seq from seq_1_to_900;
                 create table names (id varchar(20) character set utf8mb3 primary key, n int);
                 insert into names select concat(if(seq % 2, 'a', 'B'), seq), seq from seq_1_to_900;
                 create table nothing (n int primary key)",
            )
            .await?;
        for (table, partition, strategy) in [
            ("tenants", json!({ "strategy": "auto", "count": 4 }), "hash"),
            ("bare", json!({ "strategy": "auto", "count": 4 }), "none"),
            ("bare", json!({ "strategy": "quantile", "column": "n", "count": 4 }), "quantile"),
            ("seen", json!({ "strategy": "auto", "column": "n", "count": 4 }), "range"),
            ("seen", json!({ "strategy": "quantile", "column": "tens", "count": 4 }), "quantile"),
            ("parts", json!({ "strategy": "auto", "count": 4 }), "range"),
            ("names", json!({ "strategy": "auto", "count": 4 }), "quantile"),
        ] {
            let divided = shelf.divide(table, &partition).await?;
            ensure!(divided.strategy()? == strategy, "{table} {partition}: {:?}", divided.how()?);
        }
        let empty = json!({ "strategy": "auto", "count": 4 });
        ensure!(shelf.divide("nothing", &empty).await?.plan.partitions.is_empty(), "an empty table");
        for (table, partition, part) in [
            ("bare", json!({ "strategy": "ctid", "count": 4 }), "MySQL does not support reads by block"),
            ("bare", json!({ "strategy": "hash", "count": 4 }), "no readable primary key"),
        ] {
            let said = shelf.refused(table, &partition).await?;
            ensure!(said.contains(part) && said.contains("extract.partition"), "{table}: {said}");
        }
        Ok(())
    })
}

#[test]
fn rows_written_after_the_plan_are_in_a_partition_too() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let shelf = Shelf::mariadb(env, "maria-late").await?;
        for partition in [
            json!({ "strategy": "hash", "column": "k", "count": 5 }),
            json!({ "strategy": "quantile", "column": "k", "count": 5 }),
            json!({ "column": "k", "count": 5 }),
        ] {
            shelf
                .say("drop table if exists t; create table t (n int primary key, k int); \
                      insert into t select seq, seq from seq_1_to_1000")
                .await?;
            // below the least, above the greatest, without key, in the middle
            let late = "insert into t values (1001, -2147483648), (1002, 2147483647), (1003, null), (1004, 500)";
            let divided = shelf.divide_beside("t", &partition, late).await?;
            let divided = divided.map_err(|failure| anyhow::anyhow!("{}", failure.report))?;
            ensure!(divided.keys == (1..=1004).collect::<Vec<i64>>(), "{partition}");
        }
        Ok(())
    })
}
