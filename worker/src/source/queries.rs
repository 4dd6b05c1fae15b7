//! What planning asks the database.

use crds::extract_job::Extract;
use worker_core::decoding::columns::{Column, Target};
use worker_core::errors::failure::Failure;
use worker_core::planning::partitioning::{Key, TableStats};
use worker_core::planning::partitions::Sample;
use worker_core::planning::plan::{Plan, TableName};
use worker_core::planning::selection;
use worker_core::planning::tables::TableRef;
use worker_core::planning::types;
use worker_core::planning::virtual_columns;
use worker_core::sql::rows::{self, SampleMethod};

use crate::base::pause::PausePoints;
use crate::source::doubts;
use crate::source::errors::{database_failure, made};
use crate::source::filtering;
use crate::source::mysql;
use crate::source::postgres;
use crate::source::table::{Found, Guarded, SourceTable};

use crate::source::database::Database;

/// A key of a sample: its text, the place of the first such, rows with a key, all rows, and whether it
/// is greater than the one before.
type Sampled = (Option<String>, i64, i64, i64, bool);

/// Least and greatest value, as text.
pub(crate) type Extremes = (Option<String>, Option<String>);

impl Database {
    /// Finds the table and its columns, before the snapshot.
    pub(crate) async fn look_up(
        &mut self,
        wanted: &TableRef,
        extract: &Extract,
    ) -> Result<SourceTable, Failure> {
        let mut searched = Vec::new();
        if let Self::Postgres(connection) = self {
            searched = postgres::catalog::searched(connection).await?;
            postgres::sessions::begin(connection).await?;
        }
        let source_table = self.look_up_in(wanted, &searched, extract).await?;
        if let Self::Postgres(connection) = self {
            postgres::sessions::commit(connection).await?;
        }
        Ok(source_table)
    }

    /// The same inside the snapshot, by its full name.
    pub(crate) async fn look_up_again(
        &mut self,
        source_table: &SourceTable,
        extract: &Extract,
    ) -> Result<SourceTable, Failure> {
        self.look_up_in(&TableRef::from(source_table.table()), &[], extract).await
    }

    async fn look_up_in(
        &mut self,
        wanted: &TableRef,
        searched: &[String],
        extract: &Extract,
    ) -> Result<SourceTable, Failure> {
        let found = match self {
            Self::Postgres(connection) => {
                postgres::catalog::look_up(connection, wanted, searched).await?
            }
            Self::Mysql(connection) => mysql::catalog::look_up(connection, wanted, extract).await?,
        };
        let doubt = match &extract.filter {
            Some(filter) => {
                let postgres = match self {
                    Self::Postgres(connection) => Some(&mut **connection),
                    Self::Mysql(_) => None,
                };
                doubts::of_filter(postgres, filter, &found.columns).await?
            }
            None => None,
        };
        let columns = selection::select(found.columns, extract)?;
        let columns = types::apply(self.engine(), columns, extract)?;
        if let Self::Postgres(connection) = self {
            postgres::catalog::check_money(connection, (&columns, &found.within)).await?;
        }
        let mut unproven = match doubt {
            Some(why) => found.unproven.with_condition(&why),
            None => found.unproven,
        };
        if let Some(column) = virtual_columns::read_of(&found.recomputed, &columns, extract) {
            unproven = unproven.with_column(column);
        }
        Ok(SourceTable { columns, unproven, named: extract.columns.is_some(), ..found })
    }

    /// Seeks the best guard there is.
    pub(crate) async fn guard(
        &mut self,
        guarded: Guarded<'_>,
        pause: PausePoints<'_>,
    ) -> Result<Found, Failure> {
        match self {
            Self::Postgres(connection) => postgres::guard::seek(connection, guarded, pause).await,
            Self::Mysql(connection) => mysql::guard::seek(connection, guarded, pause).await,
        }
    }

    /// Greatest and least value of a column, in the rows that `filter` leaves.
    pub(crate) async fn extremes(
        &mut self,
        table: &TableName,
        column: &Column,
        filter: Option<&str>,
    ) -> Result<Extremes, Failure> {
        let statement = made(rows::extremes_statement(self.engine(), table, column, filter));
        let answer = match self {
            Self::Postgres(connection) => {
                sqlx::query_as(statement).fetch_one(&mut **connection).await
            }
            Self::Mysql(connection) => {
                let found = sqlx::query_as(statement).fetch_one(&mut **connection).await;
                found.map(|(max, min)| (shortest(column, max), shortest(column, min)))
            }
        };
        answer.map_err(|error| database_failure("read the minimum and maximum of a column", &error))
    }

    /// Whether a query of existence finds something.
    pub(crate) async fn exists(
        &mut self,
        statement: String,
        action: &str,
    ) -> Result<bool, Failure> {
        let query = made(statement);
        let answer = match self {
            Self::Postgres(connection) => {
                sqlx::query_scalar(query).fetch_one(&mut **connection).await
            }
            Self::Mysql(connection) => {
                let found = sqlx::query_scalar(query).fetch_one(&mut **connection).await;
                found.map(|found: i64| found != 0)
            }
        };
        answer.map_err(|error| database_failure(action, &error))
    }

    /// Rows of a plan's window.
    pub(crate) async fn count(&mut self, plan: &Plan) -> Result<u64, Failure> {
        filtering::enter(self, &plan.filter_settings).await?;
        let query = sqlx::query_scalar(made(rows::count_statement(plan)?));
        let rows: Result<i64, _> = match self {
            Self::Postgres(connection) => query.fetch_one(&mut **connection).await,
            Self::Mysql(connection) => {
                sqlx::query_scalar(made(rows::count_statement(plan)?))
                    .fetch_one(&mut **connection)
                    .await
            }
        };
        let rows = rows.map_err(|error| database_failure("count rows", &error))?;
        filtering::leave(self, &plan.filter_settings).await?;
        Ok(u64::try_from(rows).unwrap_or_default())
    }

    /// In how many folders the first rows of the window lie, and how many rows these are.
    pub(crate) async fn hive_directories(
        &mut self,
        plan: &Plan,
        rows: u64,
    ) -> Result<(u64, u64), Failure> {
        filtering::enter(self, &plan.filter_settings).await?;
        let query = made(rows::hive_directories_statement(plan, rows)?);
        let found: Result<(i64, i64), _> = match self {
            Self::Postgres(connection) => {
                // nor does this scan move the place where the readers' scans begin
                postgres::sessions::keep_order(connection).await?;
                sqlx::query_as(query).fetch_one(&mut **connection).await
            }
            Self::Mysql(connection) => sqlx::query_as(query).fetch_one(&mut **connection).await,
        };
        let (hive_directories, rows) = found
            .map_err(|error| database_failure("read the values of output.partitionBy", &error))?;
        filtering::leave(self, &plan.filter_settings).await?;
        let number = |number: i64| u64::try_from(number).unwrap_or_default();
        Ok((number(hive_directories), number(rows)))
    }

    /// Rows (-1: unknown) and bytes of the table.
    pub(crate) async fn size(&mut self, source_table: &SourceTable) -> Result<(i64, i64), Failure> {
        match self {
            Self::Postgres(connection) => postgres::catalog::size(connection, source_table).await,
            Self::Mysql(connection) => mysql::catalog::size(connection, source_table).await,
        }
    }

    /// What the table is, and its primary key.
    pub(crate) async fn table_stats(
        &mut self,
        source_table: &SourceTable,
    ) -> Result<TableStats, Failure> {
        match self {
            Self::Postgres(connection) => {
                postgres::catalog::table_stats(connection, source_table).await
            }
            Self::Mysql(connection) => mysql::catalog::table_stats(connection, source_table).await,
        }
    }

    /// What the server knows already about where the rows of `count` partitions lie; `None` where that is
    /// too little, old, or of more rows than the window has.
    pub(crate) async fn statistics(
        &mut self,
        source_table: &SourceTable,
        plan: &Plan,
        key: Key<'_>,
        count: u32,
    ) -> Result<Option<Sample>, Failure> {
        let Self::Postgres(connection) = self else { return Ok(None) };
        if rows::has_window(plan)? {
            return Ok(None);
        }
        let said = postgres::catalog::statistics(connection, source_table, key.column).await?;
        Ok(said.and_then(|said| Sample::of_statistics(key.key_type, &said, count)))
    }

    /// What the key's index tells without a row being read; `None` where it tells nothing, or of more
    /// rows than the window has.
    pub(crate) async fn estimates(
        &mut self,
        plan: &Plan,
        key: Key<'_>,
        count: u32,
    ) -> Result<Option<Sample>, Failure> {
        if key.key_type.value_type().is_none() || rows::has_window(plan)? {
            return Ok(None);
        }
        let indexed = match self {
            Self::Mysql(connection) => {
                mysql::catalog::is_indexed(connection, &plan.table, key.column).await?
            }
            Self::Postgres(_) => false,
        };
        if !indexed {
            return Ok(None);
        }
        let (max, min) = self.extremes(&plan.table, key.column, None).await?;
        let read = |text: Option<String>| text.and_then(|text| key.key_type.value(&text));
        match (self, read(min).zip(read(max))) {
            (Self::Mysql(connection), Some(ends)) => {
                mysql::catalog::estimates(connection, plan, key, (ends, count)).await.map(Some)
            }
            _ => Ok(None),
        }
    }

    /// Finds where the window's rows lie.
    pub(crate) async fn sample(
        &mut self,
        plan: &Plan,
        key: Key<'_>,
        sample_method: SampleMethod,
        points: u32,
    ) -> Result<Sample, Failure> {
        filtering::enter(self, &plan.filter_settings).await?;
        let query = made(rows::sample_statement(plan, key.column, sample_method, points)?);
        let answer: Result<Vec<Sampled>, _> = match self {
            Self::Postgres(connection) => sqlx::query_as(query).fetch_all(&mut **connection).await,
            Self::Mysql(connection) => {
                let found: Result<Vec<(_, _, _, _, i64)>, _> =
                    sqlx::query_as(query).fetch_all(&mut **connection).await;
                let greater =
                    |(text, place, keys, all, greater)| (text, place, keys, all, greater != 0);
                found.map(|rows| rows.into_iter().map(greater).collect())
            }
        };
        let answer = answer.map_err(|error| database_failure("read the partition keys", &error))?;
        filtering::leave(self, &plan.filter_settings).await?;
        let number = |number: i64| u64::try_from(number).unwrap_or_default();
        let (keys, all) = answer.first().map_or((0, 0), |row| (number(row.2), number(row.3)));
        let sorted = answer
            .into_iter()
            .map(|(text, place, _, _, greater)| (text, number(place).saturating_sub(1), greater));
        Ok(Sample::of_sorted(key.key_type, sorted, keys, all.saturating_sub(keys)))
    }

    /// Rows of the window by the planner; -1 where its answer has no number.
    pub(crate) async fn estimate(&mut self, plan: &Plan) -> Result<i64, Failure> {
        filtering::enter(self, &plan.filter_settings).await?;
        let rows = match self {
            Self::Postgres(connection) => postgres::catalog::estimate(connection, plan).await?,
            Self::Mysql(connection) => mysql::catalog::estimate(connection, plan).await?,
        };
        filtering::leave(self, &plan.filter_settings).await?;
        Ok(rows)
    }
}

/// MySQL gives the four bytes of a `float` as a double; the watermark has as many digits as the
/// column.
fn shortest(column: &Column, text: Option<String>) -> Option<String> {
    if column.target != Target::Float32 {
        return text;
    }
    text.map(|text| text.parse::<f32>().map_or(text, |number| format!("{number:?}")))
}
