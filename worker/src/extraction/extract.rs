//! One partition: from the plan to its partition record, in an extract pod or in the coordinator itself.

use std::sync::Arc;

use crds::condition::Exit;
use crds::{ExtractJobSpec, Reason, RunId};
use tokio::sync::watch as signal;
use tokio::task::{JoinHandle, JoinSet};
use uuid::Uuid;
use worker_core::encoding::batches::{Asked, MemoryBudget, Parallelism, Width};
use worker_core::errors::failure::Failure;
use worker_core::layout::body::to_body;
use worker_core::layout::records::PartitionRecord;
use worker_core::planning::plan::Plan;
use worker_core::protocol::Reply;

use crate::base::pause::Pause;
use crate::extraction::counters::Counters;
use crate::extraction::flow::{Extract, extract_partition};
use crate::extraction::kept_records::KeptRecords;
use crate::source::backend::Progress;
use crate::source::login::Login;
use crate::source::mysql::aligned::{self, Aligned};
use crate::source::rows::Reader;
use crate::source::watch;
use crate::stores::control::{Control, Only};

/// What the extraction of each partition needs.
#[derive(Clone)]
pub struct PartitionReader {
    /// The plan.
    pub plan: Arc<Plan>,
    /// Its SHA-256.
    pub plan_hash: String,
    /// Credentials and address of the database.
    pub login: Login,
    /// Sessions that share a snapshot which cannot be joined later.
    pub aligned: Option<Aligned>,
    /// S3.
    pub s3: aws_sdk_s3::Client,
    /// Control objects of the run's uri.
    pub control: Control,
    /// Memory of one partition.
    pub budget: MemoryBudget,
    /// Becomes true when reading must end.
    pub stop: signal::Receiver<bool>,
    /// Notified at once when a partition fails, before its own session and uploads are cleaned up; none where
    /// the process reads one partition.
    pub others: Option<Arc<signal::Sender<bool>>>,
    /// What this process has read.
    pub counters: Arc<Counters>,
    /// Pause points for tests.
    pub pause: Pause,
}

impl PartitionReader {
    /// Extracts partition `index` and writes its partition record, unless another process has written it.
    ///
    /// # Errors
    /// The failure, with the partition if there are several. Uploads of this process are then aborted.
    pub async fn read(&self, index: u32) -> Result<PartitionRecord, Failure> {
        let read = self.read_partition(index).await;
        if read.is_ok() {
            self.counters.finished();
        }
        read.map_err(|mut failure| {
            if self.plan.partitions.len() > 1 && failure.exit != Exit::Stopped {
                failure.report.message = format!("partition {index}: {}", failure.report.message);
            }
            if self.aligned.is_some() && failure.exit == Exit::Transient {
                return aligned::not_again(failure);
            }
            failure
        })
    }

    async fn reader(&self, index: u32) -> Result<Reader, Failure> {
        match &self.aligned {
            Some(aligned) => aligned.take().map(Reader::Mysql).ok_or_else(aligned::none_left),
            None => {
                let name = format!("tidemark/{}/{index}", self.plan.run);
                Reader::open(&self.login, &self.plan, &name).await
            }
        }
    }

    /// A session, unless reading has to end meanwhile.
    async fn reader_unless_stopped(&self, index: u32) -> Result<Reader, Failure> {
        let mut stop = self.stop.clone();
        let stopped = async {
            if stop.wait_for(|stop| *stop).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            reader = Box::pin(self.reader(index)) => reader,
            () = stopped => Err(Failure::stopped()),
        }
    }

    async fn read_partition(&self, index: u32) -> Result<PartitionRecord, Failure> {
        let (run, prefix) = (self.plan.run, &self.control.prefix);
        let key = prefix.record(run, index);
        if let Some((record, _)) = self.control.read(&key).await? {
            return Ok(record);
        }
        let token = Uuid::new_v4().simple().to_string();
        let mut reader = self.reader_unless_stopped(index).await?;
        let (backend, progress) = (reader.backend().await?, Progress::default());
        self.pause.at("partition-start").await;
        let extract = Extract {
            plan: &self.plan,
            plan_hash: &self.plan_hash,
            index,
            reader: &mut reader,
            backend: &backend,
            login: &self.login,
            s3: &self.s3,
            prefix,
            token: &token,
            budget: self.budget,
            stop: self.stop.clone(),
            others: self.others.as_deref(),
            progress: &progress,
            counters: &self.counters,
        };
        let lost = watch::lost(&self.login, backend.clone(), &progress);
        let read = Box::pin(extract_partition(extract, lost)).await;
        match (&self.aligned, reader) {
            (Some(aligned), Reader::Mysql(session)) if read.is_ok() => aligned.give_back(session),
            (_, reader) => reader.close().await,
        }
        let record = read?;
        self.pause.at("before-record").await;
        let put = self.control.put(&key, &to_body(&record), &Only::IfAbsent).await;
        match put {
            Ok(Reply::Done) => Ok(record),
            Ok(Reply::Refused | Reply::Gone | Reply::Locked(_)) => self.refused(&key, record).await,
            // the record may exist although its reply was lost: then its uploads count, and
            // otherwise the process that publishes or recovers the run aborts them
            Err(failure) => Err(failure),
        }
    }

    /// There is a record: our own, its reply lost, or that of another process for this partition, which
    /// counts then.
    async fn refused(&self, key: &str, mine: PartitionRecord) -> Result<PartitionRecord, Failure> {
        let found: Option<(PartitionRecord, String)> = self.control.read(key).await?;
        let (found, _) = found.ok_or_else(|| {
            Failure::transient(
                Reason::StorageFailed,
                "the partition record was refused, but no partition \
                 record exists",
                "",
            )
        })?;
        if found.token != mine.token {
            self.abort(&mine).await;
        }
        Ok(found)
    }

    async fn abort(&self, record: &PartitionRecord) {
        for file in &record.files {
            if let Err(failure) = self.control.abort(&file.key, &file.upload_id).await {
                tracing::warn!(%failure, "cannot abort the upload; recovery aborts it");
            }
        }
    }
}

/// Partitions that are being read in this process.
pub struct Extraction {
    run: RunId,
    over: bool,
    reading: Option<JoinHandle<Result<KeptRecords, Failure>>>,
    stop: Arc<signal::Sender<bool>>,
}

impl Extraction {
    /// The run, once all partitions have a record, and the first time the records that were kept; `None`
    /// while any partition is being read.
    ///
    /// # Errors
    /// The first failure of a partition.
    pub(crate) async fn ended(&mut self) -> Result<Option<(RunId, Option<KeptRecords>)>, Failure> {
        if self.over {
            return Ok(Some((self.run, None)));
        }
        if !self.reading.as_ref().is_some_and(JoinHandle::is_finished) {
            return Ok(None);
        }
        let Some(reading) = self.reading.take() else { return Ok(None) };
        match reading.await {
            Ok(kept_records) => {
                let kept_records = kept_records?;
                self.over = true;
                Ok(Some((self.run, Some(kept_records))))
            }
            Err(_) => Err(panicked()),
        }
    }

    /// Stops reading and waits until nothing is read and nothing uploaded any more. A wait that is given
    /// up can be begun again.
    pub async fn stop(&mut self) {
        let _ = self.stop.send(true);
        if let Some(reading) = &mut self.reading {
            let _ = reading.await;
        }
        self.reading = None;
    }
}

/// Partitions that one process reads at a time, where the manifest does not say.
const READERS: usize = 4;

/// Partitions that one process is to read at a time.
pub fn readers_asked(spec: &ExtractJobSpec) -> Asked {
    let asked = spec.worker.as_ref().and_then(|worker| worker.parallelism);
    let asked = asked.and_then(|asked| usize::try_from(asked).ok());
    Asked { readers: asked.unwrap_or(READERS), by_manifest: asked.is_some() }
}

/// Partitions of a plan that one process reads at a time, within its memory.
pub fn parallelism(plan: &Plan, asked: Asked, budget: MemoryBudget) -> Parallelism {
    budget.parallelism(asked, plan.partitions.len(), Width::of(plan))
}

impl Extraction {
    /// Begins to read all partitions of a plan, so many at a time, which share the memory.
    pub(crate) fn begin(
        reader: PartitionReader,
        parallel: usize,
        stop: Arc<signal::Sender<bool>>,
    ) -> Self {
        reader.counters.begin(&reader.plan);
        let (run, count) = (reader.plan.run, reader.plan.partitions.len());
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let reading = all(reader, count, parallel, Arc::clone(&stop));
        Self { run, over: false, reading: Some(tokio::spawn(reading)), stop }
    }
}

/// Reads all partitions, each in its own task. At the first failure it stops the others and waits for them, because FAIL
/// lists the open uploads and no upload may start after that.
async fn all(
    reader: PartitionReader,
    count: u32,
    parallel: usize,
    stop: Arc<signal::Sender<bool>>,
) -> Result<KeptRecords, Failure> {
    let (mut kept_records, mut first) = (KeptRecords::default(), None);
    let (mut waiting, mut reading) = (0..count, JoinSet::new());
    loop {
        while reading.len() < parallel.max(1)
            && let Some(index) = waiting.next()
        {
            let (reader, stop) = (reader.clone(), Arc::clone(&stop));
            reading.spawn(async move {
                if *stop.borrow() {
                    return Err(Failure::stopped());
                }
                Box::pin(reader.read(index)).await
            });
        }
        let Some(read) = reading.join_next().await else { break };
        match read.unwrap_or_else(|_| Err(panicked())) {
            Ok(record) => kept_records.add(record),
            Err(failure) => {
                // what stopped the others says more than that they were stopped
                if first.as_ref().is_none_or(|first: &Failure| first.exit == Exit::Stopped) {
                    first = Some(failure);
                }
                let _ = stop.send(true);
            }
        }
    }
    if let Some(aligned) = &reader.aligned {
        aligned.close().await;
    }
    first.map_or_else(|| Ok(kept_records.sorted()), Err)
}

fn panicked() -> Failure {
    Failure::transient(Reason::Internal, "the reader task of a partition panicked", "")
}
