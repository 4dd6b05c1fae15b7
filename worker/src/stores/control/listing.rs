//! What lies under a prefix, page by page.

use crds::RunId;
use crds::output::RunFolder;
use worker_core::errors::failure::Failure;

use super::objects::Control;
use crate::stores::errors::storage_failure;

impl Control {
    /// The records of a run, by key, and how large the largest of them is.
    ///
    /// # Errors
    /// As [`storage_failure`].
    pub async fn recorded(&self, run: RunId) -> Result<(Vec<String>, u64), Failure> {
        let (mut keys, mut largest) = (Vec::new(), 0);
        let each = |key: &str, size: u64| {
            keys.push(key.to_owned());
            largest = largest.max(size);
        };
        self.each_object(&self.prefix.records(run), each).await?;
        Ok((keys, largest))
    }

    /// How many partitions of a run have a record, and how large the largest of them is.
    ///
    /// # Errors
    /// As [`storage_failure`].
    pub async fn recorded_so_far(&self, run: RunId) -> Result<(u32, u64), Failure> {
        let (mut count, mut largest) = (0_u32, 0);
        let each = |_: &str, size: u64| {
            (count, largest) = (count.saturating_add(1), largest.max(size));
        };
        self.each_object(&self.prefix.records(run), each).await?;
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
        let mut keys = Vec::new();
        self.each_key(folder, |key| keys.push(key.to_owned())).await?;
        Ok(keys)
    }

    /// Calls `each` with every key below a prefix, in their order.
    ///
    /// # Errors
    /// As [`storage_failure`].
    pub async fn each_key(&self, folder: &str, mut each: impl FnMut(&str)) -> Result<(), Failure> {
        self.each_object(folder, |key, _| each(key)).await
    }

    /// The same, with the objects' sizes.
    async fn each_object(
        &self,
        folder: &str,
        mut each: impl FnMut(&str, u64),
    ) -> Result<(), Failure> {
        let request = self.client.list_objects_v2().bucket(&self.prefix.bucket).prefix(folder);
        let mut pages = request.into_paginator().send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| storage_failure("list objects", &error))?;
            for found in page.contents() {
                let size = found.size().and_then(|size| u64::try_from(size).ok());
                if let Some(key) = found.key() {
                    each(key, size.unwrap_or(0));
                }
            }
        }
        Ok(())
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
