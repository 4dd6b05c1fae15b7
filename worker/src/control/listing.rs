//! What lies under a prefix, page by page.

use crds::RunId;
use crds::output::RunFolder;
use worker_core::error::Failure;

use super::Control;
use crate::objects::storage_failure;

impl Control {
    /// Which ranges of a run have a record.
    ///
    /// # Errors
    /// As [`storage_failure`].
    pub async fn recorded(&self, run: RunId) -> Result<Vec<String>, Failure> {
        self.keys(&self.prefix.records(run)).await
    }

    /// How many ranges of a run have a record, and how large the largest of them is.
    ///
    /// # Errors
    /// As [`storage_failure`].
    pub async fn recorded_so_far(&self, run: RunId) -> Result<(u32, u64), Failure> {
        let folder = self.prefix.records(run);
        let request = self.client.list_objects_v2().bucket(&self.prefix.bucket).prefix(&folder);
        let mut pages = request.into_paginator().send();
        let (mut count, mut largest) = (0_u32, 0);
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| storage_failure("list objects", &error))?;
            for found in page.contents() {
                let size = found.size().and_then(|size| u64::try_from(size).ok());
                (count, largest) = (count.saturating_add(1), largest.max(size.unwrap_or(0)));
            }
        }
        Ok((count, largest))
    }

    /// At least `room` of the data files of a run, if there are so many, in the order of their keys and
    /// after one of them; and whether there may be more.
    ///
    /// # Errors
    /// As [`storage_failure`].
    pub async fn data_files(
        &self,
        run: RunId,
        after: Option<&str>,
        room: usize,
    ) -> Result<(Vec<String>, bool), Failure> {
        let mut keys = Vec::new();
        for folder in [RunFolder::Run, RunFolder::Time] {
            let request = self.client.list_objects_v2().bucket(&self.prefix.bucket);
            let request = request.prefix(self.prefix.data_folder(run, folder));
            let request = request.set_start_after(after.map(Into::into));
            let mut pages = request.into_paginator().send();
            while let Some(page) = pages.next().await {
                let page = page.map_err(|error| storage_failure("list objects", &error))?;
                let found = page.contents().iter().filter_map(|found| found.key());
                let own = found.filter(|key| self.prefix.run_of(key) == Some(run));
                keys.extend(own.map(str::to_owned));
                if keys.len() >= room {
                    return Ok((keys, true));
                }
            }
        }
        Ok((keys, false))
    }

    /// All keys below a folder.
    ///
    /// # Errors
    /// As [`storage_failure`].
    pub async fn keys(&self, folder: &str) -> Result<Vec<String>, Failure> {
        let request = self.client.list_objects_v2().bucket(&self.prefix.bucket).prefix(folder);
        let mut pages = request.into_paginator().send();
        let mut keys = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| storage_failure("list objects", &error))?;
            keys.extend(page.contents().iter().filter_map(|found| found.key().map(Into::into)));
        }
        Ok(keys)
    }

    /// Runs that have control objects and began before that time (seconds since 1970, UTC): a run
    /// id holds its time.
    ///
    /// # Errors
    /// As [`storage_failure`].
    pub async fn runs_before(&self, time: i64) -> Result<Vec<RunId>, Failure> {
        let root = self.prefix.control_root();
        let request = self.client.list_objects_v2().bucket(&self.prefix.bucket).prefix(&root);
        let mut pages = request.delimiter("/").into_paginator().send();
        let mut runs = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| storage_failure("list runs", &error))?;
            let names = page.common_prefixes().iter().filter_map(|found| found.prefix());
            let ids = names.filter_map(|name| name.strip_prefix(&root)?.strip_suffix('/'));
            let found = ids.filter_map(|id| id.parse::<RunId>().ok());
            runs.extend(found.filter(|run| run.began().is_some_and(|began| began < time)));
        }
        Ok(runs)
    }
}
