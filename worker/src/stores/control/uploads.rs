//! The open uploads of a prefix, and whether they hold what is recorded.

use std::collections::BTreeSet;

use crds::output::RunFolder;
use crds::{Reason, RunId};
use worker_core::errors::failure::Failure;
use worker_core::layout::records::PendingFile;

use super::files::bare;
use super::objects::{Control, code};
use crate::stores::errors::storage_failure;

impl Control {
    /// At least `room` of the open uploads of a run, if there are so many, key and id; and whether there
    /// may be more.
    ///
    /// # Errors
    /// As [`storage_failure`].
    pub async fn uploads(
        &self,
        run: RunId,
        room: usize,
    ) -> Result<(Vec<(String, String)>, bool), Failure> {
        let data = |folder| self.prefix.data_folder(run, folder);
        let mut found = Vec::new();
        // a manifest is an upload too while it is written
        let folders =
            [data(RunFolder::Run), data(RunFolder::Time), self.prefix.control_folder(run)];
        for folder in folders {
            let more = self
                .uploads_below(&folder, |key, id| {
                    if self.prefix.run_of(key) == Some(run) {
                        found.push((key.to_owned(), id.to_owned()));
                    }
                    found.len() < room
                })
                .await?;
            if more {
                return Ok((found, true));
            }
        }
        Ok((found, false))
    }

    /// Calls `each` with key and id of the open uploads until it stops; then returns true.
    async fn uploads_below(
        &self,
        beginning: &str,
        mut each: impl FnMut(&str, &str) -> bool,
    ) -> Result<bool, Failure> {
        let (mut key_marker, mut id_marker) = (None, None);
        loop {
            let page = self
                .client
                .list_multipart_uploads()
                .bucket(&self.prefix.bucket)
                .prefix(beginning)
                .set_key_marker(key_marker)
                .set_upload_id_marker(id_marker)
                .send()
                .await
                .map_err(|error| storage_failure("list open uploads", &error))?;
            for upload in page.uploads() {
                if let (Some(key), Some(id)) = (upload.key(), upload.upload_id())
                    && key.starts_with(beginning)
                    && !each(key, id)
                {
                    return Ok(true);
                }
            }
            if !page.is_truncated().unwrap_or(false) || page.next_key_marker().is_none() {
                return Ok(false);
            }
            key_marker = page.next_key_marker().map(Into::into);
            id_marker = page.next_upload_id_marker().map(Into::into);
        }
    }

    /// Runs that have open uploads under the prefix.
    ///
    /// # Errors
    /// As [`storage_failure`].
    pub async fn uploading(&self) -> Result<BTreeSet<RunId>, Failure> {
        let mut runs = BTreeSet::new();
        let each = |key: &str, _: &str| {
            runs.extend(self.prefix.run_of(key));
            true
        };
        self.uploads_below(&self.prefix.root(), each).await?;
        Ok(runs)
    }

    /// Whether every part of an upload is still there as recorded.
    ///
    /// # Errors
    /// `RecordMismatch` where it is not; else as [`storage_failure`].
    pub async fn assure(&self, file: &PendingFile) -> Result<(), Failure> {
        let (mut etags, mut marker) = (Vec::new(), None);
        loop {
            let page = self
                .client
                .list_parts()
                .bucket(&self.prefix.bucket)
                .key(&file.key)
                .upload_id(&file.upload_id)
                .set_part_number_marker(marker)
                .send()
                .await;
            let page = match page {
                Ok(page) => page,
                Err(error) if code(&error) == "NoSuchUpload" => return Err(not_as_recorded()),
                Err(error) => return Err(storage_failure("list the parts of an upload", &error)),
            };
            etags.extend(page.parts().iter().filter_map(|part| part.e_tag().map(bare)));
            if !page.is_truncated().unwrap_or(false) || page.next_part_number_marker().is_none() {
                break;
            }
            marker = page.next_part_number_marker().map(Into::into);
        }
        if etags.iter().map(String::as_str).eq(file.parts.iter().map(|etag| etag.trim_matches('"')))
        {
            return Ok(());
        }
        Err(not_as_recorded())
    }
}

pub(crate) fn not_as_recorded() -> Failure {
    Failure::transient(
        Reason::RecordMismatch,
        "an upload is missing, or does not contain the parts that its partition record names",
        "Wait for the next attempt, which writes the files again. If the error returns, check which other \
         process writes under output.uri, and whether a lifecycle rule of the bucket aborts uploads too \
         early.",
    )
}
