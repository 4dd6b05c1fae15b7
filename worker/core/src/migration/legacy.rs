//! What a call of the legacy job says.

use std::collections::BTreeMap;

use crds::Reason;

use crate::errors::failure::Failure;

/// Longest name of an `ExtractJob`.
const NAME_LENGTH_MAX: usize = 63;

/// Declares the arguments, each with the name that the job knew it by.
macro_rules! arguments {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// An argument of the legacy job, or one of the few that we add to its forms.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Argument { $($(#[$doc])* $variant,)* }

        impl Argument {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name, in lower case.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

arguments! {
    /// The table.
    ExtractTable = "extract_table",
    /// `postgres` or `mysql`.
    DbEngine = "db_engine",
    /// Host of the database; that of the secret when left out.
    DbHost = "db_host",
    /// Its port.
    DbPort = "db_port",
    /// Database.
    DbName = "db_name",
    /// User, where no secret is named.
    DbUser = "db_user",
    /// Password, where no secret is named.
    DbPassword = "db_password",
    /// Name of a secret in AWS Secrets Manager.
    DbSecret = "db_secret",
    /// Watermark column.
    HwmColName = "hwm_col_name",
    /// Its type.
    HwmColumnType = "hwm_column_type",
    /// `FE` or `PE`.
    ExtractType = "extract_type",
    /// The DynamoDB table.
    TrackingTableName = "tracking_table_name",
    /// From the beginning, replacing what is there.
    Reingest = "reingest",
    /// End of the window.
    HwmValue = "hwm_value",
    /// Start of the window.
    LwmValue = "lwm_value",
    /// Column to cut by.
    PartitionColumn = "partition_column",
    /// With `upper_bound`: the stride.
    LowerBound = "lower_bound",
    /// With `lower_bound`: the stride.
    UpperBound = "upper_bound",
    /// Number of partitions.
    NumPartitions = "num_partitions",
    /// Rows a fetch.
    Fetchsize = "fetchsize",
    /// Even out skew.
    RepartitionDataframe = "repartition_dataframe",
    /// Where the files go.
    ExtractS3Uri = "extract_s3_uri",
    /// Folders below it.
    ExtractS3Partitions = "extract_s3_partitions",
    /// Ours: how the connection is protected.
    TlsMode = "tls_mode",
    /// Ours: what to do about rows whose watermark is NULL.
    NullPolicy = "null_policy",
}

impl Argument {
    pub(super) fn named(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        Self::ALL.iter().copied().find(|argument| argument.name() == name)
    }
}

/// What one call of the legacy job says.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct LegacyJob {
    pub(super) given: BTreeMap<Argument, String>,
    /// What people should know about how it was read. Never holds a value.
    pub warnings: Vec<String>,
}

impl std::fmt::Debug for LegacyJob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // values may be passwords
        f.debug_set().entries(self.given.keys()).finish()
    }
}

impl LegacyJob {
    /// What was given; an empty text and `None`, which the job's shell and Python made of nothing,
    /// are nothing.
    pub(super) fn get(&self, argument: Argument) -> Option<&str> {
        let text = self.given.get(&argument)?.trim();
        (!matches!(text, "" | "None" | "null")).then_some(text)
    }

    /// As [`Self::get`], `-1` being nothing too.
    pub(super) fn bound(&self, argument: Argument) -> Option<&str> {
        self.get(argument).filter(|text| *text != "-1")
    }

    /// `true`, `y` and `1` are true, all else is false, as the job had it.
    pub(super) fn is_true(&self, argument: Argument) -> bool {
        let text = self.get(argument).unwrap_or_default().to_ascii_lowercase();
        matches!(text.as_str(), "true" | "y" | "1")
    }

    /// Gives an argument where the call does not.
    pub fn fill(&mut self, argument: Argument, text: impl Into<String>) {
        if self.get(argument).is_none() {
            self.given.insert(argument, text.into());
        }
    }

    /// The table, as it was named; empty where none was.
    pub fn table(&self) -> &str {
        self.get(Argument::ExtractTable).unwrap_or_default()
    }

    /// The database.
    pub fn database(&self) -> &str {
        self.get(Argument::DbName).unwrap_or_default()
    }

    pub(super) fn warn(&mut self, warning: impl Into<String>) {
        self.warnings.push(warning.into());
    }
}

/// A name for an object of Kubernetes: lower-case letters, digits and dashes, at most 63.
pub fn object_name(text: &str) -> String {
    let folded = text.to_lowercase().replace(|c: char| !c.is_ascii_alphanumeric(), "-");
    let cut: String = folded.trim_matches('-').chars().take(NAME_LENGTH_MAX).collect();
    let cut = cut.trim_end_matches('-');
    if cut.is_empty() { "extract".to_owned() } else { cut.to_owned() }
}

pub(super) fn invalid(message: impl Into<String>, remedy: impl Into<String>) -> Failure {
    Failure::permanent(Reason::InvalidSpec, message, remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn object_names_are_valid_in_kubernetes() {
        assert_eq!(object_name("public.Order_Items"), "public-order-items");
        assert_eq!(object_name("\"Ä\""), "extract");
        assert_eq!(object_name(&"x.".repeat(60)).len(), 63);
    }
}
