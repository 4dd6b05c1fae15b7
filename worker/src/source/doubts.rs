//! What takes claims away that the table itself allows.

use crds::source::Engine;
use sqlx::PgConnection;
use worker_core::decoding::columns::Column;
use worker_core::errors::failure::Failure;
use worker_core::planning::selection;

use crate::source::postgres::catalog;

/// Why `extract.where` may be true of other rows in each session. `postgres`: a session, if it is Postgres.
///
/// # Errors
/// What a session may fail with.
pub(crate) async fn of_filter(
    postgres: Option<&mut PgConnection>,
    filter: &str,
    columns: &[Column],
) -> Result<Option<String>, Failure> {
    let engine = if postgres.is_some() { Engine::Postgres } else { Engine::Mysql };
    let reads = selection::reads(engine, filter);
    if let Some(doubt) = reads.doubt {
        return Ok(Some(format!("extract.where {doubt}")));
    }
    if engine == Engine::Mysql && mixes(&reads, columns) {
        let why = "extract.where may convert a time of day to a date and time, which uses the current date \
             of the session";
        return Ok(Some(why.to_owned()));
    }
    let function = match postgres {
        Some(connection) => {
            let is_column = |name: &&String| columns.iter().any(|column| column.name == **name);
            let names = reads.names.iter().filter(|name| !is_column(name));
            let names: Vec<_> = names.chain(&reads.calls).cloned().collect();
            catalog::doubtful_function(connection, &names, &reads.operators).await?
        }
        None => selection::doubtful_call(&reads.calls).cloned(),
    };
    Ok(function.map(|function| {
        format!(
            "extract.where may call {function}, which may read other data or depend on the session or the \
             time"
        )
    }))
}

fn mixes(reads: &selection::Reads, columns: &[Column]) -> bool {
    let named = |column| {
        let Column { name, type_name, .. }: &Column = column;
        (name.as_str(), type_name.as_str())
    };
    selection::mixes_time_and_date(reads, &columns.iter().map(named).collect::<Vec<_>>())
}
