//! In: the records of the run that this process holds. Out: what they come to, the uploads that they
//! name, the manifest that lists them. Bound: the records of a few files in memory, else one after
//! another as they are read. Fails: [`Failure`] with a storage reason.

use crds::RunId;
use futures::stream::{self, BoxStream, Stream, StreamExt, TryStreamExt};
use tokio::time::Instant;
use worker_core::errors::failure::Failure;
use worker_core::layout::manifests::{Earlier, ListedFile, Lists, ManifestFile};
use worker_core::layout::records::{PartitionRecord, RecordsHash, Tally, Tallying};
use worker_core::protocol::{CoordinatedRun, Event, NewManifest, Reply};

use super::context::Reading;
use super::context::{Context, UPLOADS_AT_ONCE, now};
use crate::extraction::kept_records::KeptRecords;
use crate::stores::control::{Control, WholeObject, not_as_recorded};

impl Context {
    /// Adds up the records, all of which are there. `None`: a renewal is due before that is done.
    pub(super) async fn tally(
        &mut self,
        active: &CoordinatedRun,
    ) -> Result<Option<Tally>, Failure> {
        let (run, control) = (active.run.run, self.control(&active.run.uri)?);
        let count = u32::try_from(active.plan.partitions.len()).unwrap_or(u32::MAX);
        let renew_at = self.renew_at();
        let reading = match self.in_flight.reading.take() {
            Some(reading) if reading.run == run => reading,
            Some(_) | None => Reading::of(run, KeptRecords::default()),
        };
        let reading = self.in_flight.reading.insert(reading);
        if let Some(kept_records) = reading.kept_records.all(count) {
            let mut tallying = Tallying::default();
            for record in kept_records {
                tallying.add(&active.plan, &active.plan_hash, record)?;
            }
            return tallying.finish(&active.plan).map(Some);
        }
        while reading.tallying.next() < count {
            if Instant::now() >= renew_at {
                return Ok(None);
            }
            let from = reading.tallying.next();
            let indexes = (from..count).take(reading.at_once);
            let mut records = stream::iter(indexes)
                .map(|index| control.record(run, index))
                .buffered(reading.at_once);
            while let Some(record) = records.next().await {
                let record = record?;
                reading.tallying.add(&active.plan, &active.plan_hash, &record)?;
                reading.kept_records.add(record);
            }
        }
        reading.tallying.clone().finish(&active.plan).map(Some)
    }

    /// The records once more, in the order of their partitions.
    fn records<'a>(
        &'a self,
        control: &'a Control,
        run: RunId,
        count: u32,
    ) -> BoxStream<'a, Result<PartitionRecord, Failure>> {
        let reading = self.in_flight.reading.as_ref().filter(|reading| reading.run == run);
        if let Some(kept_records) = reading.and_then(|reading| reading.kept_records.all(count)) {
            return stream::iter(kept_records.iter().cloned().map(Ok)).boxed();
        }
        let at_once = reading.map_or(1, |reading| reading.at_once);
        stream::iter(0..count)
            .map(move |index| control.record(run, index))
            .buffered(at_once)
            .boxed()
    }

    /// One more query on the very session that exported the snapshot: it lived until after the last record,
    /// and may end. Then every part as recorded, which an outage of the store may draw out.
    pub(super) async fn assure(
        &mut self,
        (uri, run): (&str, RunId),
        count: u32,
        hash: &str,
    ) -> Result<Event, Failure> {
        self.still_there().await?;
        self.release_snapshot().await;
        let control = self.control(uri)?;
        let mut hashed = RecordsHash::default();
        let files = self.records(&control, run, count).map_ok(|record| {
            hashed.add(&record);
            stream::iter(record.files.into_iter().map(Ok))
        });
        let control = &control;
        files
            .try_flatten()
            .map_ok(|file| async move { control.assure(&file).await })
            .try_buffer_unordered(UPLOADS_AT_ONCE)
            .try_for_each(|()| async { Ok(()) })
            .await?;
        if hashed.finish() != hash {
            return Err(not_as_recorded());
        }
        Ok(Event::Assured(now()))
    }

    /// Writes a manifest as its files are read.
    pub(super) async fn put_manifest(&self, new: &NewManifest) -> Result<Reply, Failure> {
        let control = self.control(&new.uri)?;
        let mut object = control.whole_object(&new.key);
        match self.fill(&control, new, &mut object).await {
            Ok(()) => object.end().await,
            Err(failure) => {
                object.abort().await;
                Err(failure)
            }
        }
    }

    async fn fill(
        &self,
        control: &Control,
        new: &NewManifest,
        object: &mut WholeObject<'_>,
    ) -> Result<(), Failure> {
        let mut lists = Lists::begin(&new.head, &mut object.buffer);
        let mut hashed = RecordsHash::default();
        let mut records = self.records(control, new.head.run, new.head.partitions);
        while let Some(record) = records.next().await {
            let record = record?;
            hashed.add(&record);
            for file in ManifestFile::of(record) {
                lists.file(&mut object.buffer, &file);
                object.flow().await?;
            }
        }
        if hashed.finish() != new.hash {
            return Err(not_as_recorded());
        }
        if let Some(earlier) = &new.earlier {
            lists.earlier(&mut object.buffer, &earlier.runs);
            let mut files = Box::pin(listed(control, earlier));
            while let Some(file) = files.next().await {
                lists.earlier_file(&mut object.buffer, &file?);
                object.flow().await?;
            }
        }
        lists.end(&mut object.buffer);
        Ok(())
    }

    /// Completes every upload that a manifest names.
    pub(super) async fn complete_all(&self, uri: &str, run: RunId) -> Result<Reply, Failure> {
        let control = &self.control(uri)?;
        let Some(files) = control.files_of::<ManifestFile>(run).await? else {
            return Ok(Reply::Gone);
        };
        files
            .map_ok(|file| async move { control.complete(&file).await })
            .try_buffer_unordered(UPLOADS_AT_ONCE)
            .try_fold(Reply::Done, |all, one| async move {
                Ok(if one == Reply::Done { all } else { one })
            })
            .await
    }
}

/// All files of a chain, oldest first: those that its first manifest lists, then every one's own.
fn listed<'a>(
    control: &'a Control,
    earlier: &'a Earlier,
) -> impl Stream<Item = Result<ListedFile, Failure>> + 'a {
    let first = stream::iter(earlier.manifests.first()).then(move |run| async move {
        let files = control.files_of::<ListedFile>(*run).await?;
        files.ok_or_else(|| super::chains::manifest_missing(*run))
    });
    let own = stream::iter(&earlier.manifests).then(move |run| async move {
        let files = control.files_of::<ManifestFile>(*run).await?;
        files.ok_or_else(|| super::chains::manifest_missing(*run))
    });
    let own = own.try_flatten().map_ok(|file| ListedFile {
        key: file.key,
        rows: file.rows,
        bytes: file.bytes,
    });
    first.try_flatten().chain(own)
}
