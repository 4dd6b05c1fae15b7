//! In: a run, a range, a process token. Out: object keys. Bound: one key per call. Fails: a uri
//! that is not `s3://<bucket>/<prefix>`.
//!
//! Every key is made here, so that no two processes ever write the same data object, and control
//! objects have one place.

use crds::RunId;

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

    /// The run that a data file belongs to, by its key.
    pub fn run_of(&self, key: &str) -> Option<RunId> {
        let rest = key.strip_prefix(&self.root())?;
        let run = rest.split('/').find_map(|part| part.strip_prefix("extract_run="))?;
        run.parse().ok()
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

    /// The record of one range.
    pub fn record(&self, run: RunId, index: u32) -> String {
        self.control(&format!("{run}/tasks/{index}.json"))
    }

    /// Below it lie the records of a run and nothing else.
    pub fn records(&self, run: RunId) -> String {
        self.control(&format!("{run}/tasks/"))
    }

    /// The manifest of a run.
    pub fn manifest(&self, run: RunId) -> String {
        self.control(&format!("{run}/manifest.json"))
    }

    /// Below it lie the data files of a run and nothing else.
    pub fn run_folder(&self, run: RunId) -> String {
        format!("{}/extract_run={run}/", self.prefix)
    }

    /// A data file: `token` is of the process, `number` counts its files from 0.
    pub fn data_file(&self, run: RunId, index: u32, token: &str, number: u32) -> String {
        format!("{}part-{index:05}-{token}-{number:03}.parquet", self.run_folder(run))
    }
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

    #[test]
    fn odd_uris_are_refused() {
        for uri in
            ["lake/x", "s3://lake", "s3://lake/", "s3:///x", "s3://lake/a/../b", "s3://lake/a//b"]
        {
            assert_eq!(Prefix::parse(uri), Err(BadUri), "{uri}");
        }
    }
}
