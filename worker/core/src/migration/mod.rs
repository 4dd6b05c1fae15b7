//! In: a call of the job that Tidemark replaces, in any of its forms. Out: a spec, what cannot
//! stand in one, and warnings about what is done differently. Bound: one call, or one YAML of a
//! source. Fails: `InvalidSpec`, naming the argument in the words that the user used.
//!
//! | form | example |
//! |---|---|
//! | container environment | `EDL_TYPE=extract DB_ENGINE=postgres EXTRACT_TABLE=public.orders` |
//! | Glue arguments | `--DB_ENGINE postgres --EXTRACT_TABLE public.orders` |
//! | script arguments | `--db_engine=postgres --hwm_value=-1` |
//! | YAML of a source | `extract: {default_arguments: {..}, tables: {public.orders: {..}}}` |

mod calls;
mod legacy;
mod partition;
mod source_file;
mod spec;

pub use calls::{call, environment};
pub use legacy::{Argument, LegacyJob, object_name};
pub use source_file::source_file;
pub use spec::{LegacyCredentials, Moved, Tls};

#[cfg(test)]
mod tests;
