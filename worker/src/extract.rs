//! One range: from the plan to its task record, in an extract pod or in the coordinator itself.

use std::sync::Arc;

use crds::condition::Exit;
use crds::{ExtractJobSpec, Reason, RunId};
use futures::stream::{self, StreamExt};
use tokio::sync::watch as signal;
use tokio::task::JoinHandle;
use uuid::Uuid;
use worker_core::batches::MemoryBudget;
use worker_core::commits::{Held, Reply};
use worker_core::error::Failure;
use worker_core::manifests::to_body;
use worker_core::plan::Plan;
use worker_core::records::TaskRecord;

use crate::commits::{Kept, World};
use crate::control::{Control, Only};
use crate::flow::{Extract, extract_range};
use crate::mysql::aligned::{self, Aligned};
use crate::pause::Pause;
use crate::rows::Reader;
use crate::sessions::Login;
use crate::watch::{self, Progress};

/// What every range of one run needs.
#[derive(Clone)]
pub struct RangeReader {
    /// The plan.
    pub plan: Arc<Plan>,
    /// Its SHA-256.
    pub plan_hash: String,
    /// How to log in.
    pub login: Login,
    /// Sessions that share a snapshot which cannot be joined later.
    pub aligned: Option<Aligned>,
    /// S3.
    pub s3: aws_sdk_s3::Client,
    /// Control objects of the run's uri.
    pub control: Control,
    /// Memory of one range.
    pub budget: MemoryBudget,
    /// Becomes true when reading must end.
    pub stop: signal::Receiver<bool>,
    /// Pause points for tests.
    pub pause: Pause,
}

impl RangeReader {
    /// Reads range `index` and leaves its record, or finds that another process has left it.
    ///
    /// # Errors
    /// Whatever stopped it, with the range where there are several; its own uploads are aborted then.
    pub async fn read(&self, index: u32) -> Result<TaskRecord, Failure> {
        self.read_range(index).await.map_err(|mut failure| {
            if self.plan.ranges.len() > 1 && failure.exit != Exit::Stopped {
                failure.report.message = format!("range {index}: {}", failure.report.message);
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

    async fn read_range(&self, index: u32) -> Result<TaskRecord, Failure> {
        let (run, prefix) = (self.plan.run, &self.control.prefix);
        let key = prefix.record(run, index);
        if let Some((record, _)) = self.control.read(&key).await? {
            return Ok(record);
        }
        let token = Uuid::new_v4().simple().to_string();
        let mut reader = self.reader(index).await?;
        let (backend, progress) = (reader.backend().await?, Progress::default());
        self.pause.at("range-start").await;
        let extract = Extract {
            plan: &self.plan,
            plan_hash: &self.plan_hash,
            index,
            reader: &mut reader,
            s3: &self.s3,
            prefix,
            token: &token,
            budget: self.budget,
            stop: self.stop.clone(),
            progress: &progress,
        };
        let lost = watch::lost(&self.login, backend, &progress);
        let record = extract_range(extract, lost).await?;
        if let (Some(aligned), Reader::Mysql(session)) = (&self.aligned, reader) {
            aligned.give_back(session);
        }
        self.pause.at("before-record").await;
        let put = self.control.put(&key, &to_body(&record), &Only::IfAbsent).await;
        match put {
            Ok(Reply::Done) => Ok(record),
            Ok(Reply::Refused | Reply::Gone) => self.refused(&key, record).await,
            // the record may be there all the same, its reply lost: then its uploads count, and
            // whoever publishes or settles the run aborts them if it is not
            Err(failure) => Err(failure),
        }
    }

    /// There is a record: our own, its reply lost, or that of another process for this range, which
    /// counts then.
    async fn refused(&self, key: &str, mine: TaskRecord) -> Result<TaskRecord, Failure> {
        let found: Option<(TaskRecord, String)> = self.control.read(key).await?;
        let (found, _) = found.ok_or_else(|| {
            Failure::transient(Reason::StorageFailed, "a record was refused and is not there", "")
        })?;
        if found.token != mine.token {
            self.abort(&mine).await;
        }
        Ok(found)
    }

    async fn abort(&self, record: &TaskRecord) {
        for file in &record.files {
            if let Err(failure) = self.control.abort(&file.key, &file.upload_id).await {
                tracing::warn!(%failure, "abort an upload; settle will do it");
            }
        }
    }
}

/// Ranges that are being read in this process.
pub struct Extraction {
    run: RunId,
    over: bool,
    reading: Option<JoinHandle<Result<Kept, Failure>>>,
    stop: Arc<signal::Sender<bool>>,
}

impl Extraction {
    /// The run, once all ranges have a record, and the first time the records that were kept; `None`
    /// while any range is being read.
    ///
    /// # Errors
    /// The first failure of a range.
    pub(crate) async fn ended(&mut self) -> Result<Option<(RunId, Option<Kept>)>, Failure> {
        if self.over {
            return Ok(Some((self.run, None)));
        }
        if !self.reading.as_ref().is_some_and(JoinHandle::is_finished) {
            return Ok(None);
        }
        let Some(reading) = self.reading.take() else { return Ok(None) };
        match reading.await {
            Ok(kept) => {
                let kept = kept?;
                self.over = true;
                Ok(Some((self.run, Some(kept))))
            }
            Err(_) => Err(Failure::transient(Reason::Internal, "a range ended in disorder", "")),
        }
    }

    /// Stops reading and waits until nothing is read and nothing uploaded any more.
    pub async fn stop(mut self) {
        let _ = self.stop.send(true);
        if let Some(reading) = self.reading.take() {
            let _ = reading.await;
        }
    }
}

/// Ranges that one process reads at a time, where the manifest does not say.
const RANGES_AT_ONCE: usize = 4;

/// Ranges that one process reads at a time.
pub fn ranges_at_once(spec: &ExtractJobSpec) -> usize {
    let asked = spec.worker.as_ref().and_then(|worker| worker.parallelism);
    asked.and_then(|asked| usize::try_from(asked).ok()).unwrap_or(RANGES_AT_ONCE)
}

/// Begins to read all ranges of a plan here, `parallel` at a time, which share the budget.
///
/// # Errors
/// `InvalidSpec` for a bad uri.
pub fn here(
    world: &World,
    held: &Held,
    (parallel, budget): (usize, MemoryBudget),
    aligned: Option<Aligned>,
) -> Result<Extraction, Failure> {
    let Some(login) = world.login.clone() else { return Err(Failure::stopped()) };
    // ranges that there are not need no memory
    let parallel = parallel.min(held.plan.ranges.len()).max(1);
    let parallel = aligned.as_ref().map_or(parallel, |aligned| aligned.count);
    let (stop, receiver) = signal::channel(false);
    let reader = RangeReader {
        plan: Arc::new(held.plan.clone()),
        plan_hash: held.plan_hash.clone(),
        login,
        aligned,
        s3: world.stores.s3.clone(),
        control: Control::new(world.stores.s3.clone(), &held.run.uri)?,
        budget: budget.shared(parallel),
        stop: receiver,
        pause: world.pause.clone(),
    };
    let count = u32::try_from(held.plan.ranges.len()).unwrap_or(u32::MAX);
    let stop = Arc::new(stop);
    let reading = all(reader, count, parallel, Arc::clone(&stop));
    let run = held.run.run;
    Ok(Extraction { run, over: false, reading: Some(tokio::spawn(reading)), stop })
}

/// Reads all ranges. At the first failure the others are told to stop, and waited for: FAIL lists
/// the open uploads, and none may be begun after that.
async fn all(
    reader: RangeReader,
    count: u32,
    parallel: usize,
    stop: Arc<signal::Sender<bool>>,
) -> Result<Kept, Failure> {
    let (reader, stop) = (&reader, &*stop);
    let mut reading = stream::iter(0..count)
        .map(|index| async move {
            if *stop.borrow() {
                Err(Failure::stopped())
            } else {
                Box::pin(reader.read(index)).await
            }
        })
        .buffer_unordered(parallel);
    let (mut kept, mut first) = (Kept::default(), None);
    while let Some(read) = reading.next().await {
        match read {
            Ok(record) => kept.add(record),
            Err(failure) => {
                first.get_or_insert(failure);
                let _ = stop.send(true);
            }
        }
    }
    first.map_or_else(|| Ok(kept.sorted()), Err)
}
