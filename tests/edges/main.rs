//! The edge of the window: every trap that an incremental run can fall into there, on a real Postgres
//! and a real hot standby of it, each with the rule that answers it.
//!
//! | trap | rule | where | test |
//! |---|---|---|---|
//! | a row commits after the run, stamped before its end | the end is `min(max in the snapshot, guard)` | `window::choose`, `guard::seek` | `late` |
//! | a transaction that has begun and not written | `min(xact_start)` of this database, less a second | `EXACT_CLOCK` | `late` (Begun) |
//! | guard read inside the snapshot | each step is a transaction of its own, before the snapshot | `guard.rs`, `planner::open` | `steps` |
//! | other databases, our own sessions | left out by name | `EXACT_CLOCK`, `OPEN_TRANSACTIONS` | `guards::other_databases...` |
//! | starts hidden from a plain user | wait for all open transactions: `waited` | `OPEN_TRANSACTIONS` | `late`, `steps` (Blind) |
//! | starts hidden by `track_activities = off` | not `exact` | `GUARD_FACTS`, `EXACT_CLOCK` | `guards::a_session_that_hides...` |
//! | two transactions in one message share `now()` | the message's start; sessions are waited for | `EXACT_CLOCK`, `STILL_OPEN` | `guards::all_transactions...`, `guards::between_two...` |
//! | a standby does not show the primary's transactions | `lag`, and says so | `guard_order` | `late` (standby), `standby` |
//! | a snapshot belongs to one node | `SnapshotLost` | `sessions::import` | `standby::a_snapshot...` |
//! | the standby's replay cancels readers | the snapshot session is asked again: `SnapshotLost` | `SnapshotSession::still_there` | `standby::a_replay...`, `ended::read_that...` |
//! | a time-out of the user ends a long read | each transaction turns it off | `settings::postgres::PINS` | `ended::read_longer...` |
//! | prepared transactions are in no list of starts | read last; any that wrote here: `lag` (times), waited for (numbers) | `PREPARED`, `guard::seek` | `late`, `steps` (Prepare), `guards::with_a_prepared...` |
//! | the maximum and the rows from two snapshots | one snapshot for bounds and rows | `planner::open` | `steps`, `ties` |
//! | equal values at the boundary | closed end, open start; the running tick is left out | `last_whole_tick`, `window_predicate` | `ties`, `values::equal...` |
//! | numbers are visible out of order | `waited`, only for a sequence of the column's own | `GUARD_FACTS`, `guard_order` | `late`, `steps`, `guards::the_guard_depends...` |
//! | silent drift | `lookbackSeconds`; the stored watermark never moves back | `window::choose`, `transitions::reached` | `values::lookback...` |
//! | NULL | `nullPolicy` | `planner::observe`, `window_predicate` | `values::rows_without...` |
//! | a foreign table, copy or subscriber's table | the weaker word | `READ_RELATIONS`, `Unproven` | `relations`, `witnesses` |
//! | NOT NULL that nobody enforces | asked for | `COLUMNS`, `is_null` | `promises` |
//! | a walsender's query is months old | it never counts | `EXACT_CLOCK` | `witnesses` |
//! | infinities, NaN, more than 38 digits | `NonFiniteValue`, `ColumnTypeUnsupported` | `watermark_extreme` | `values::infinities...` |
//! | precision, microseconds, floating point | the column's own precision; exact values, exact text | `Value`, `literal` | `values::values_of_every_type...` |
//! | a clock that goes back at night | the bound is lower by the jump, ahead of it | `EXACT_CLOCK`, `LAG_CLOCK` | `zones::when_clocks...` |
//! | columns without zone | `timeZone`; without it `unguarded` | `guard::zone` | `zones` |
//! | the session's own zone and date style | pinned | `PIN` | `zones::the_zone_of_a_session...` |
//! | year 9999 as "never ends" | nothing above the clock is taken | `hold` | `values::a_date_of_the_far_future...` |
//! | years before Christ | refused by name; the window stays pending | `columns::temporal` | `values::a_year_before_christ...` |
//! | the table fell below its watermark | `WatermarkRegressed` | `window::choose` | `values::a_table_that_fell...` |
//! | no rows | the watermark stays | `window::choose`, `watermark_item_at_publish` | `values::a_table_that_fell...` |

mod edge;
mod ended;
mod guards;
mod late;
mod names;
mod numbers;
mod promises;
mod relations;
mod standby;
mod steps;
mod ties;
mod values;
mod witnesses;
mod zones;
