//! Extracts one partition: all stages, connected by bounded queues.
//!
//! One thread reads the rows. Another thread decodes and encodes them. Tokio sends them as parts. A stage that fails
//! drops its ends of the queues. The other stages then stop without a failure of their own.

use std::sync::Arc;

use aws_sdk_s3::Client;
use crds::Reason;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinHandle};
use worker_core::decoding::columns::{DecodeError, Decoder, fingerprint};
use worker_core::encoding::batches::{MemoryBudget, MemorySplit, Width};
use worker_core::encoding::files::fitting;
use worker_core::errors::failure::{Failure, REPORT};
use worker_core::layout::objects::{Part, Prefix};
use worker_core::layout::records::PartitionRecord;
use worker_core::planning::plan::{CONTROL_VERSION, Plan};
use worker_core::sql::rows::read_statement;

use crate::extraction::counters::Counters;
use crate::extraction::files::{EncodeError, FileWriter, Piece};
use crate::extraction::uploads::Uploads;
use crate::source::backend::{Backend, Progress};
use crate::source::chunks;
use crate::source::chunks::Chunk;
use crate::source::login::Login;
use crate::source::rows::Reader;

/// Parts waiting between encoder and uploads.
const PARTS_WAITING: usize = 1;

/// What one partition needs.
#[derive(Debug)]
pub struct Extract<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// Its SHA-256, as pinned.
    pub plan_hash: &'a str,
    /// Which partition.
    pub index: u32,
    /// The session that reads.
    pub reader: &'a mut Reader,
    /// The server's name for it.
    pub backend: &'a Backend,
    /// How the session connected.
    pub login: &'a Login,
    /// Where the files go.
    pub s3: &'a Client,
    /// Under which prefix.
    pub prefix: &'a Prefix,
    /// Random, one per process.
    pub token: &'a str,
    /// Memory of the container.
    pub budget: MemoryBudget,
    /// Becomes true when a signal came.
    pub stop: watch::Receiver<bool>,
    /// Stops the other partitions that this process reads.
    pub others: Option<&'a watch::Sender<bool>>,
    /// How far the session is.
    pub progress: &'a Progress,
    /// What this process has read.
    pub counters: &'a Arc<Counters>,
}

/// How a stage ended before its work was done.
#[derive(Debug)]
enum StageEnd {
    /// The next stage is gone and knows why.
    Unwanted,
    /// For a reason of its own.
    Failed(Failure),
}

/// What the decoder knows when all rows are encoded.
#[derive(Debug)]
struct Encoded {
    rows: u64,
    footer_rows: u64,
    closed_early: u64,
    watermarks: Option<(String, String)>,
}

/// Reads one partition of the table into parts on S3, and returns their record.
///
/// *Guarantees*: on success every file's parts are stored and nothing is completed. On failure, and
/// when stopped, the uploads begun here have been aborted, and the statement was cancelled. It must not be dropped instead of being
/// stopped: open uploads would stay until recovery.
///
/// *Memory*: the budget's split, independent of the size of the table.
///
/// `lost` ends once the session's server has stopped answering.
///
/// # Errors
/// The reason of the stage that failed first in the line's own order: storage, database, decoding.
pub async fn extract_partition(
    mut extract: Extract<'_>,
    lost: impl Future<Output = Failure>,
) -> Result<PartitionRecord, Failure> {
    let plan = extract.plan;
    let split = fitting(extract.budget.split_of(Width::of(plan)), &plan.layout);
    let Extract { s3, prefix, token, .. } = extract;
    let mut uploads = Uploads::new(s3, &prefix.bucket, token, &split);
    let mut stop = extract.stop.clone();
    let outcome = {
        let line = Box::pin(run(&mut extract, split, &mut uploads));
        tokio::select! {
            outcome = line => outcome,
            () = stopped(&mut stop) => Err(Failure::stopped()),
            failure = lost => Err(failure),
        }
    };
    if outcome.is_err() {
        if let Some(others) = extract.others {
            others.send_replace(true);
        }
        // side by side: a store that does not answer must not let the statement run on
        tokio::join!(uploads.abort(), extract.reader.interrupt(extract.login, extract.backend));
    }
    outcome
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        // the sender of the stop signal is gone
        std::future::pending::<()>().await;
    }
}

async fn run(
    extract: &mut Extract<'_>,
    split: MemorySplit,
    uploads: &mut Uploads,
) -> Result<PartitionRecord, Failure> {
    let Extract { plan, index, prefix, token, .. } = *extract;
    let reader = &mut *extract.reader;
    let partition = usize::try_from(index).ok().and_then(|index| plan.partitions.get(index));
    let partition =
        partition.ok_or_else(|| internal("the plan has no partition with this index"))?;
    let statement = read_statement(plan, partition)?;

    let (chunk_sender, chunks) = chunks::queue(split.wire_bytes);
    let (piece_sender, mut pieces) = mpsc::channel(PARTS_WAITING);
    let decoder = decoder(plan);
    let (planned, counters) = (plan.clone(), Arc::clone(extract.counters));
    let encode: JoinHandle<Result<Encoded, StageEnd>> = tokio::task::spawn_blocking(move || {
        encode(&planned, decoder?, split, chunks, (piece_sender, &counters))
    });

    let sent = async {
        let key = |number, values: &str| {
            let part = Part { index, token, number, values };
            prefix.data_file(plan.run, plan.layout.run_folder, part)
        };
        let sent = uploads.take(&mut pieces, key).await;
        // the encoder must see that nobody waits for more
        drop(pieces);
        sent
    };
    let read = reader.read(plan, &statement, chunk_sender, extract.progress);
    let (read, encoded, sent) = tokio::join!(read, encode, sent);

    sent?;
    read?;
    let encoded = ended(encoded)?;
    let files = uploads.record()?;
    let (watermark_min, watermark_max) = encoded.watermarks.unzip();
    let record = PartitionRecord {
        version: CONTROL_VERSION,
        run: plan.run,
        index,
        token: token.to_owned(),
        plan_hash: extract.plan_hash.to_owned(),
        snapshot: plan.snapshot.clone(),
        schema: fingerprint(&plan.columns),
        rows: encoded.rows,
        watermark_max,
        watermark_min,
        closed_early: encoded.closed_early,
        files,
    };
    if encoded.rows != encoded.footer_rows || encoded.rows != record.footer_rows() {
        let message = format!(
            "{} rows were read, but the files of partition {index} contain {} rows",
            encoded.rows,
            record.footer_rows()
        );
        return Err(Failure::permanent(Reason::RowCountMismatch, message, REPORT));
    }
    Ok(record)
}

fn ended(encoded: Result<Result<Encoded, StageEnd>, JoinError>) -> Result<Encoded, Failure> {
    match encoded {
        Ok(Ok(encoded)) => Ok(encoded),
        Ok(Err(StageEnd::Failed(failure))) => Err(failure),
        // asked last: had a neighbour failed, it would have said so
        Ok(Err(StageEnd::Unwanted)) => {
            Err(internal("encoder stopped before the end of the stream"))
        }
        Err(_) => Err(internal("encoder task panicked")),
    }
}

fn decoder(plan: &Plan) -> Result<Decoder, DecodeError> {
    let watermark = plan.watermark.as_ref().map(|watermark| watermark.column.as_str());
    Ok(Decoder::of(plan.engine, &plan.columns, watermark)?.adding(&plan.layout.columns, plan.run))
}

/// Decodes and encodes until the reader has no more. Runs on a thread of its own.
fn encode(
    plan: &Plan,
    mut decoder: Decoder,
    split: MemorySplit,
    mut chunks: mpsc::Receiver<Chunk>,
    (pieces, counters): (mpsc::Sender<Piece>, &Counters),
) -> Result<Encoded, StageEnd> {
    let mut files =
        FileWriter::new(&plan.columns, Arc::clone(decoder.schema()), split, &plan.layout, pieces)?;
    while let Some(chunk) = chunks.blocking_recv() {
        decoder.feed(chunk.bytes())?;
        counters.received(chunk.bytes().len());
        drop(chunk);
        if split.cuts_batch(decoder.batch_rows(), decoder.bytes_held()) {
            counters.read(decoder.batch_rows());
            files.write(&decoder.take_batch()?)?;
        }
    }
    decoder.finish()?;
    if decoder.batch_rows() > 0 {
        counters.read(decoder.batch_rows());
        files.write(&decoder.take_batch()?)?;
    }
    files.close()?;
    let watermarks = decoder.watermarks()?;
    Ok(Encoded {
        rows: decoder.rows(),
        footer_rows: files.rows(),
        closed_early: files.closed_early(),
        watermarks,
    })
}

impl From<DecodeError> for StageEnd {
    fn from(error: DecodeError) -> Self {
        let (message, remedy) = (error.to_string(), error.remedy());
        Self::Failed(if error.is_transient() {
            Failure::transient(Reason::DecodeFailed, message, remedy)
        } else {
            let reason =
                if error.is_not_finite() { Reason::NonFiniteValue } else { Reason::DecodeFailed };
            Failure::permanent(reason, message, remedy)
        })
    }
}

impl From<EncodeError> for StageEnd {
    fn from(error: EncodeError) -> Self {
        match error {
            EncodeError::HandOver => Self::Unwanted,
            EncodeError::HiveDirectory(bad) => Self::Failed(Failure::permanent(
                Reason::DecodeFailed,
                bad.to_string(),
                bad.remedy(),
            )),
            EncodeError::PrepareSchema { .. }
            | EncodeError::EncodeBatch { .. }
            | EncodeError::SortRows { .. } => Self::Failed(internal(&error.to_string())),
        }
    }
}

fn internal(message: &str) -> Failure {
    Failure::permanent(Reason::Internal, message, REPORT)
}
