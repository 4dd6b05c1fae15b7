//! The test environment, as tests see it.
//!
//! [`TestEnv::shared`] boots the real parts once (Kubernetes, Postgres with TLS, an S3 server, DynamoDB Local) or attaches
//! to a test environment that is up. They live in namespaces of their own, so a test reaches them from inside [`TestEnv::run`] only:
//!
//! ```no_run
//! # fn main() -> anyhow::Result<()> {
//! let env = harness::TestEnv::shared()?;
//! env.run(async {
//!     let database = env.database("orders").await?;
//!     env.psql(&database, "create table t (id int)").await?;
//!     Ok(())
//! })
//! # }
//! ```
//!
//! Tests share one test environment and run side by side: take every name from [`unique`], or from what returns one ([`TestEnv::database`],
//! [`TestEnv::bucket`], [`TestEnv::table`], [`TestEnv::namespace`]). What a killed test leaves goes with the next fresh test environment; its
//! child processes end with it, and its namespaces are deleted by the next test program that attaches.

mod env;
mod cluster;
mod command;
mod source;
mod release;
mod releases;
mod secrets;
mod servers;
mod legacy_job;
mod gates;
mod operator;
mod own_mariadb;
mod child;
mod pods;
mod pooler;
mod proxy;
mod rds;
mod identity;
mod impostor;
mod session;
mod stores;
mod wait;
mod wire;

pub use child::Process;
pub use command::Output;
pub use env::{Part, Signal, TestEnv, tests_dir};
pub use gates::{index_of, kill_now, pods_at, process_of, release_pause, stands_at};
pub use identity::{Identity, POD_TOKEN};
pub use impostor::{Asks, Impostor};
pub use legacy_job::{Call, LegacyJob, Took};
pub use operator::{LocalOperator, PlainApi};
pub use own_mariadb::MariaDb;
pub use pooler::Pooler;
pub use proxy::{Asked, Calls, Fault, Gate, Proxy, Speaks, Twin};
pub use rds::Rds;
pub use release::{Release, condition};
pub use releases::Mysql;
pub use secrets::SecretsManager;
pub use servers::{Server, SupportedRelease};
pub use session::Session;
pub use source::{SourceFixture, binary};
pub use stores::{Access, ParquetFile};
pub use wait::{GiveUp, unique, wait_until};
pub use wire::Wire;
