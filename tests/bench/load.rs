//! In: tables and a database server. Out: the loaded tables, and their rows as the server prints them. Bound: a buffer
//! of rows. Fails: with the error of the server's client.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::{SourceFixture, TestEnv};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::tables::{Column, Engine, Kind, Size, Table};

/// The only user of the test environment that may connect without TLS.
pub(crate) const USER: &str = "bench";
/// Its password.
pub(crate) const PASSWORD: &str = "secret";
/// How long loading a table, or reading it once, may take.
const LOAD_DEADLINE: Duration = Duration::from_mins(20);
/// Bytes of rows that are sent at once.
const CHUNK_BYTES: usize = 1 << 20;
/// The line of `pg_hba.conf` that lets the user in without TLS.
const PLAIN: &str = "hostnossl all bench 198.18.0.0/15 scram-sha-256";

/// Creates the user in both servers.
///
/// # Errors
/// The error of the client.
pub(crate) async fn create_user(env: &TestEnv) -> Result<()> {
    let file = env.state.join("postgres/pg_hba.conf");
    let rules = std::fs::read_to_string(&file)?;
    if !rules.contains(PLAIN) {
        std::fs::write(&file, format!("{rules}{PLAIN}\n"))?;
    }
    env.psql(
        "postgres",
        "do $$ begin create role bench login superuser password 'secret'; exception when duplicate_object then null; end $$; \
         select pg_reload_conf()",
    )
    .await?;
    let account =
        "create user if not exists bench@'%' identified by 'secret'; grant all on *.* to bench@'%'";
    env.mariadb("mysql", account).await?;
    Ok(())
}

/// Creates and loads a table, unless it exists from an earlier run.
///
/// # Errors
/// The error of the client.
pub(crate) async fn load(
    source: &SourceFixture,
    engine: Engine,
    table: Table,
    size: Size,
) -> Result<()> {
    let sql = async |text: &str| match engine {
        Engine::Postgres => source.env.psql(&source.database, text).await,
        Engine::MariaDb => source.env.mariadb(&source.database, text).await,
    };
    sql("create table if not exists loaded (name varchar(64) primary key)").await?;
    let name = table.name();
    if sql(&format!("select count(*) from loaded where name = '{name}'")).await?.trim() == "1" {
        return Ok(());
    }
    sql(&format!("drop table if exists {name}")).await?;
    match (table, engine) {
        (Table::Lineitem10, _) => copy_ten_times(source).await?,
        (_, Engine::Postgres) => {
            let script = format!(
                "begin; {}; copy {name} from stdin with (freeze); commit; vacuum (freeze, analyze) {name}",
                table.create(engine)
            );
            let mut command = psql(source);
            // one option for each statement: vacuum cannot run together with others
            for statement in script.split("; ") {
                command.args(["-c", statement]);
            }
            feed(command, size.rows(table, engine)).await?;
        }
        (_, Engine::MariaDb) => {
            sql(&table.create(engine)).await?;
            feed(load_data(source, table), size.rows(table, engine)).await?;
            sql(&format!("analyze table {name}")).await?;
        }
    }
    sql(&format!("insert into loaded values ('{name}')")).await?;
    Ok(())
}

fn psql(source: &SourceFixture) -> Command {
    let mut command = source.env.command("psql");
    command.args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-d", &postgres_url(source)]);
    command.env("PGTZ", "UTC");
    command
}

/// The URL of the database for clients without TLS.
pub(crate) fn postgres_url(source: &SourceFixture) -> String {
    format!(
        "postgresql://{USER}:{PASSWORD}@{}:{}/{}?sslmode=disable",
        TestEnv::IP,
        TestEnv::POSTGRES_PORT,
        source.database
    )
}

fn mariadb(source: &SourceFixture) -> Command {
    let mut command = source.env.command("mariadb");
    command
        .args([
            "--no-defaults",
            "-NB",
            "--quick",
            "--protocol=tcp",
            "--skip-ssl",
            "--local-infile=1",
        ])
        .args(["--default-character-set=utf8mb4", "--max-allowed-packet=64M"])
        .args([&format!("--host={}", TestEnv::IP), &format!("--port={}", TestEnv::MARIADB_PORT)])
        .args([&format!("--user={USER}"), &format!("--password={PASSWORD}"), &source.database]);
    command
}

fn load_data(source: &SourceFixture, table: Table) -> Command {
    let columns = table.columns(Engine::MariaDb);
    let target = |column: &Column| match column.kind {
        Kind::Bytes => format!("@{}", column.name),
        _ => column.name.to_owned(),
    };
    let targets = columns.iter().map(target).collect::<Vec<_>>().join(", ");
    let bytes = columns.iter().filter(|column| column.kind == Kind::Bytes);
    let set: Vec<_> = bytes.map(|column| format!("{0} = unhex(@{0})", column.name)).collect();
    let set = if set.is_empty() { String::new() } else { format!(" set {}", set.join(", ")) };
    let statement = format!(
        "set time_zone = '+00:00', unique_checks = 0; load data local infile '/dev/stdin' into table {} \
         character set utf8mb4 ({targets}){set}",
        table.name()
    );
    let mut command = mariadb(source);
    command.args(["-e", &statement]);
    command
}

async fn feed(mut command: Command, rows: impl Iterator<Item = String>) -> Result<()> {
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().context("start the client")?;
    let mut input = child.stdin.take().context("standard input of the client")?;
    let mut chunk = Vec::with_capacity(2 * CHUNK_BYTES);
    for row in rows {
        chunk.extend_from_slice(row.as_bytes());
        chunk.push(b'\n');
        if chunk.len() >= CHUNK_BYTES {
            if input.write_all(&chunk).await.is_err() {
                // the client has ended and prints the reason
                break;
            }
            chunk.clear();
        }
    }
    let _ = input.write_all(&chunk).await;
    drop(input);
    let output = tokio::time::timeout(LOAD_DEADLINE, child.wait_with_output()).await??;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "load: {} {stderr}", output.status);
    Ok(())
}

/// Copies `lineitem` ten times. Each copy has greater order keys than the previous one.
async fn copy_ten_times(source: &SourceFixture) -> Result<()> {
    let columns = Table::Lineitem.columns(Engine::Postgres);
    let others: Vec<_> = columns[1..].iter().map(|column| column.name).collect();
    let create = Table::Lineitem10.create(Engine::Postgres);
    // no reader of this table uses the index; without it the load takes a third of the time
    let create = create.split(", primary key").next().unwrap_or_default();
    let statements = [
        "begin".to_owned(),
        format!("{create})"),
        format!(
            "insert into lineitem10 select l_orderkey + turn * (select max(l_orderkey) from lineitem), {} \
             from generate_series(0, 9) turn, lineitem",
            others.join(", ")
        ),
        "commit".to_owned(),
        "vacuum (freeze, analyze) lineitem10".to_owned(),
    ];
    let mut command = psql(source);
    for statement in &statements {
        command.args(["-c", statement]);
    }
    let output = source.env.output(command, "", LOAD_DEADLINE).await?;
    ensure!(output.code == Some(0), "load lineitem10: {}", output.stderr);
    Ok(())
}

/// Writes the rows of a table to a file with the server's own client. The values have the text form that `summary.py`
/// compares.
///
/// # Errors
/// The error of the client.
pub(crate) async fn dump(
    source: &SourceFixture,
    engine: Engine,
    table: Table,
    file: &std::path::Path,
) -> Result<()> {
    let columns = table.columns(engine);
    let selected: Vec<_> = columns.iter().map(|column| canonical(engine, column)).collect();
    let query = format!("select {} from {}", selected.join(", "), table.name());
    let mut command = match engine {
        Engine::Postgres => {
            let mut command = psql(source);
            command.args(["-c", &format!("copy ({query}) to stdout (format text, null '~null~')")]);
            command
        }
        Engine::MariaDb => {
            let mut command = mariadb(source);
            command.args(["-e", &format!("set time_zone = '+00:00'; {query}")]);
            command
        }
    };
    command.stdin(Stdio::null()).stdout(std::fs::File::create(file)?).stderr(Stdio::piped());
    let child = command.spawn().context("start the client")?;
    let output = tokio::time::timeout(LOAD_DEADLINE, child.wait_with_output()).await??;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "dump {}: {} {stderr}", table.name(), output.status);
    Ok(())
}

/// SQL for a value in the text form that `summary.py` compares.
fn canonical(engine: Engine, column: &Column) -> String {
    let name = column.name;
    let text = match (engine, column.kind) {
        (Engine::Postgres, Kind::Instant | Kind::Timestamp) => {
            format!("(extract(epoch from {name}) * 1000000)::bigint")
        }
        (Engine::Postgres, Kind::Bytes) => format!("upper(encode({name}, 'hex'))"),
        (Engine::Postgres, Kind::Boolean) => format!("{name}::int"),
        (Engine::MariaDb, Kind::Instant | Kind::Timestamp) => {
            format!("timestampdiff(microsecond, '1970-01-01', {name})")
        }
        (Engine::MariaDb, Kind::Bytes) => format!("hex({name})"),
        (Engine::Postgres | Engine::MariaDb, _) => name.to_owned(),
    };
    if engine == Engine::MariaDb { format!("ifnull({text}, '~null~')") } else { text }
}
