//! Types that are made of others.

use anyhow::{Result, ensure};
use harness::TestEnv;
use serde_json::Value;

use super::Column;
use super::Show::Plain;
use super::compare;

const SETUP: &str = "create extension hstore; create extension ltree; create extension citext;
    create type mood as enum ('sad', 'ok', 'very, \"happy\"');
    create type pair as (number int, words text);
    create type nest as (pairs pair[], at timestamptz, flag \"char\");
    create domain price as numeric(10,2) check (value >= 0);
    create domain cheap as price;
    create domain moods as mood[];
    create domain spoken as citext;
    create domain clock as time(3);
    create type span as range (subtype = float8)";

#[test]
fn nested_types_arrive_as_text_and_domains_as_their_base_type() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let columns = [
            Column(
                "integer[]",
                Plain,
                &["'{}'", "'{1,NULL,-3}'", "'{{1,2},{3,4}}'", "'[0:1]={1,2}'", "'{{{1}},{{2}}}'"],
            ),
            Column("text[]", Plain, &["array['a,b', 'NULL', null, '', '{\"x\\y\"}', ' ']"]),
            Column("timestamptz[]", Plain, &["array['2023-01-31 10:00:00+05'::timestamptz]"]),
            Column("numeric(5,1)[][]", Plain, &["'{{1.0,NaN}}'"]),
            Column("bytea[]", Plain, &["array['\\x00ff'::bytea]"]),
            Column("json[]", Plain, &["array['{\"a\": 1}'::json]"]),
            Column("inet[]", Plain, &["'{10.0.0.1,::1}'"]),
            Column("mood", Plain, &["'sad'", "'very, \"happy\"'"]),
            Column("mood[]", Plain, &["array['ok', 'very, \"happy\"', null]::mood[]"]),
            Column("pair", Plain, &["row(1, 'a,\"b\"')", "row(null, null)", "row(null, '')"]),
            Column("pair[]", Plain, &["array[row(1, 'x')::pair, null]"]),
            Column(
                "nest",
                Plain,
                &["row(array[row(1, 'y')::pair], '2023-01-31 10:00:00-01', 'z')"],
            ),
            Column("price", Plain, &["12.5", "0"]),
            Column("cheap", Plain, &["99999999.99"]),
            Column("price[]", Plain, &["'{1.5}'"]),
            Column("moods", Plain, &["'{ok}'"]),
            Column("spoken", Plain, &["'Word'"]),
            Column("clock", Plain, &["'10:00:00.1239'"]),
            Column("int4range", Plain, &["'[1,10]'", "'empty'", "'(,)'", "'[5,)'"]),
            Column("numrange", Plain, &["'(1.50,2.5]'"]),
            Column("tstzrange", Plain, &["'[2023-01-01 00:00+02,infinity)'"]),
            Column("daterange", Plain, &["'[2023-01-01,2023-01-31]'"]),
            Column("span", Plain, &["'[0.1,1e300)'"]),
            Column("int8multirange", Plain, &["'{}'", "'{[1,3),[7,9)}'"]),
            Column("tsmultirange", Plain, &["'{[2023-01-01,2023-01-02)}'"]),
            Column("hstore", Plain, &["'a=>1, \"b c\"=>NULL, \"\"=>\"\\\"\"'", "''"]),
            Column("ltree", Plain, &["'Top.Science.Astronomy'"]),
            Column("lquery", Plain, &["'*.Science.*{1,2}'"]),
            Column("ltxtquery", Plain, &["'Europe & Russia*@'"]),
        ];
        let manifest = compare("nested", SETUP, &columns).await?;
        let planned = |name: &str| -> Value {
            let columns = manifest["columns"].as_array().into_iter().flatten();
            columns
                .filter(|column| column["name"] == name)
                .map(|column| column["target"].clone())
                .collect()
        };
        for (index, target) in [
            (0, serde_json::json!(["asText"])),
            (7, serde_json::json!(["text"])),
            (13, serde_json::json!([{ "decimal": { "precision": 10, "scale": 2 } }])),
            (16, serde_json::json!(["text"])),
            (17, serde_json::json!(["time"])),
        ] {
            let found = planned(&format!("c{index}"));
            ensure!(found == target, "{}: {found} instead of {target}", columns[index].0);
        }
        Ok(())
    })
}
