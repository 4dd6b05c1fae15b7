//! In: a run, a partition, a process token. Out: object keys. Bound: one key per call. Fails: a uri
//! that is not `s3://<bucket>/<prefix>`.
//!
//! Every key is made here, so that no two processes ever write the same data object, and control
//! objects have one place.

use crds::RunId;
use crds::output::RunFolder;
use jiff::Timestamp;

/// Bucket and prefix of one source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prefix {
    /// The bucket.
    pub bucket: String,
    /// The prefix, without slash at either end.
    pub prefix: String,
}

/// A uri that is not `s3://<bucket>/<prefix>`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("uri is not s3://<bucket>/<prefix>")]
pub struct BadUri;

impl Prefix {
    /// Reads `s3://<bucket>/<prefix>`.
    ///
    /// # Errors
    /// [`BadUri`] for anything else, `..`, empty segments and control characters included.
    pub fn parse(uri: &str) -> Result<Self, BadUri> {
        let rest = uri.strip_prefix("s3://").ok_or(BadUri)?;
        let (bucket, prefix) = rest.split_once('/').ok_or(BadUri)?;
        let odd =
            |part: &str| part.is_empty() || part == ".." || part.chars().any(char::is_control);
        if odd(bucket) || prefix.split('/').any(odd) {
            return Err(BadUri);
        }
        Ok(Self { bucket: bucket.to_owned(), prefix: prefix.to_owned() })
    }

    fn control(&self, rest: &str) -> String {
        format!("{}/_tidemark/{rest}", self.prefix)
    }

    /// Whose prefix this is.
    pub fn source(&self) -> String {
        self.control("source.json")
    }

    /// The published end of the chain.
    pub fn pointer(&self) -> String {
        self.control("current.json")
    }

    /// `s3://<bucket>/<prefix>`.
    pub fn uri(&self) -> String {
        format!("s3://{}/{}", self.bucket, self.prefix)
    }

    /// Below it lies everything of the source.
    pub fn root(&self) -> String {
        format!("{}/", self.prefix)
    }

    /// The run that a data file or control object belongs to, by its key.
    pub fn run_of(&self, key: &str) -> Option<RunId> {
        let rest = key.strip_prefix(&self.root())?;
        let by_directory = rest.split('/').find_map(|part| part.strip_prefix("extract_run="));
        let by_control = || rest.strip_prefix("_tidemark/")?.split('/').next();
        // runs of the same second share a time directory, and the file names have the run id
        let by_name = || rest.rsplit('/').next()?.strip_prefix("part-")?.get(..36);
        by_directory.or_else(by_control).or_else(by_name)?.parse().ok()
    }

    /// Below it lie the control objects of all runs, a folder each.
    pub fn control_root(&self) -> String {
        self.control("")
    }

    /// Below it lie the control objects of a run.
    pub fn control_folder(&self, run: RunId) -> String {
        self.control(&format!("{run}/"))
    }

    /// The plan of a run.
    pub fn plan(&self, run: RunId) -> String {
        self.control(&format!("{run}/plan.json"))
    }

    /// The record of one partition.
    pub fn record(&self, run: RunId, index: u32) -> String {
        self.control(&format!("{run}/partitions/{index}.json"))
    }

    /// Below it lie the records of a run and nothing else.
    pub fn records(&self, run: RunId) -> String {
        self.control(&format!("{run}/partitions/"))
    }

    /// The manifest of a run.
    pub fn manifest(&self, run: RunId) -> String {
        self.control(&format!("{run}/manifest.json"))
    }

    /// Below it lie a run's data files; with [`RunFolder::Time`] those of other runs too, which
    /// [`Self::run_of`] tells apart.
    pub fn data_folder(&self, run: RunId, folder: RunFolder) -> String {
        let value = match folder {
            RunFolder::Run => run.to_string(),
            RunFolder::Time => time_text(run),
        };
        format!("{}/{}={value}/", self.prefix, folder.column())
    }

    /// A data file of a run.
    pub fn data_file(&self, run: RunId, folder: RunFolder, part: Part<'_>) -> String {
        let Part { index, token, number, values } = part;
        let below = self.data_folder(run, folder);
        // runs of one second share the folder
        let name = match folder {
            RunFolder::Run => String::new(),
            RunFolder::Time => format!("{run}-"),
        };
        format!("{below}{values}part-{name}{index:05}-{token}-{number:03}.parquet")
    }
}

/// Which data file of a run.
#[derive(Debug, Clone, Copy)]
pub struct Part<'a> {
    /// The partition.
    pub index: u32,
    /// Of the process that writes it.
    pub token: &'a str,
    /// Counts the process's files of this partition from 0.
    pub number: u32,
    /// The folders of `output.partitionBy`, each with a slash after it; empty without.
    pub values: &'a str,
}

/// When a run was claimed, as the legacy job wrote it into directory names, but with 24 hours.
fn time_text(run: RunId) -> String {
    let at = Timestamp::from_millisecond(run.claimed_millis()).unwrap_or_default();
    at.strftime("%Y-%m-%d_%H-%M-%S").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_is_bucket_and_prefix() {
        let prefix = Prefix::parse("s3://lake/db/orders").expect("good uri");
        assert_eq!((prefix.bucket.as_str(), prefix.prefix.as_str()), ("lake", "db/orders"));
        assert_eq!(prefix.pointer(), "db/orders/_tidemark/current.json");
    }

    /// 2023-01-31 at this hour, and 5:09 past it.
    fn run_at(hour: u128, rest: u128) -> RunId {
        let millis = (1_675_123_200 + u128::from(hour_seconds(hour))) * 1000;
        format!("{:032x}", (millis << 80) | (7 << 76) | rest).parse().expect("an id")
    }

    fn hour_seconds(hour: u128) -> u32 {
        u32::try_from(hour * 3600 + 309).expect("a time of day")
    }

    /// Defect 8 of the legacy job: 01:00 and 13:00 gave the same directory.
    #[test]
    fn legacy_job_8_the_time_directory_distinguishes_morning_from_afternoon() {
        let prefix = Prefix::parse("s3://lake/orders").expect("good uri");
        let part = Part { index: 0, token: "t", number: 0, values: "" };
        let folder = |hour| prefix.data_file(run_at(hour, 1), RunFolder::Time, part);
        assert!(
            folder(1).starts_with("orders/jdbc_extract_time=2023-01-31_01-05-09/part-"),
            "{}",
            folder(1)
        );
        assert!(
            folder(13).starts_with("orders/jdbc_extract_time=2023-01-31_13-05-09/part-"),
            "{}",
            folder(13)
        );
    }

    #[test]
    fn runs_of_one_second_share_a_time_directory_and_no_file() {
        let prefix = Prefix::parse("s3://lake/orders").expect("good uri");
        let (one, other) = (run_at(1, 1), run_at(1, 2));
        for folder in [RunFolder::Run, RunFolder::Time] {
            for values in ["", "region=EU/day=2023-01-31/"] {
                let part = Part { index: 0, token: "t", number: 0, values };
                let file = prefix.data_file(one, folder, part);
                assert!(file.starts_with(&prefix.data_folder(one, folder)), "{file}");
                assert_ne!(file, prefix.data_file(other, folder, part));
                assert_eq!(prefix.run_of(&file), Some(one), "{file}");
                assert!(file.contains(&format!("/{values}part-")), "{file}");
                assert!(file.ends_with("00000-t-000.parquet"), "{file}");
            }
        }
    }

    #[test]
    fn odd_uris_are_refused() {
        for uri in
            ["lake/x", "s3://lake", "s3://lake/", "s3:///x", "s3://lake/a/../b", "s3://lake/a//b"]
        {
            assert_eq!(Prefix::parse(uri), Err(BadUri), "{uri}");
        }
    }
}
