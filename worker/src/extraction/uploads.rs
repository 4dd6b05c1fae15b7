//! The uploads of one process: pieces of files come in, pending files go out.

use std::sync::Arc;

use aws_sdk_s3::Client;
use bytes::Bytes;
use crds::Reason;
use tokio::sync::{OnceCell, mpsc};
use tokio::task::{JoinError, JoinSet};
use worker_core::encoding::batches::MemorySplit;
use worker_core::errors::failure::{Failure, REPORT};
use worker_core::layout::records::PendingFile;

use crate::extraction::files::{FileEnd, Piece};
use crate::extraction::multipart::{Multipart, StoredPart};

/// Most files of one partition: all of a run are in one manifest.
const FILES_MAX: usize = 20_000;
/// Requests at the same time, however small their parts are.
const REQUESTS_AT_ONCE: usize = 16;

/// All uploads that this process has begun for one partition.
///
/// *Memory*: as many parts as may be in flight. Dropped without [`Uploads::abort`], it leaves
/// open uploads behind, which recovery and the cleanup of abandoned runs remove.
#[derive(Debug)]
pub struct Uploads {
    s3: Client,
    bucket: String,
    token: String,
    part_bytes: usize,
    bytes_in_flight: usize,
    files: Vec<File>,
    sending: JoinSet<Result<Sent, Failure>>,
    /// Bytes of the parts that are being sent.
    sending_bytes: usize,
}

/// File, bytes, and what S3 has.
type Sent = (usize, usize, StoredPart);

/// One file and what has become of it.
#[derive(Debug)]
struct File {
    key: String,
    /// Begun by whichever part is sent first.
    multipart: Arc<OnceCell<Multipart>>,
    /// Parts given to S3, whether they have arrived or not.
    begun: i32,
    arrived: Vec<StoredPart>,
    end: Option<FileEnd>,
}

impl Uploads {
    /// No upload yet.
    pub fn new(s3: &Client, bucket: &str, token: &str, split: &MemorySplit) -> Self {
        Self {
            s3: s3.clone(),
            bucket: bucket.to_owned(),
            token: token.to_owned(),
            part_bytes: split.part_bytes,
            bytes_in_flight: split.part_bytes * split.parts_in_flight.max(1),
            files: Vec::new(),
            sending: JoinSet::new(),
            sending_bytes: 0,
        }
    }

    /// Whether one more part of any size may be sent. Many small files are sent at the same time.
    fn has_room(&self) -> bool {
        self.sending_bytes + self.part_bytes <= self.bytes_in_flight
            && self.sending.len() < REQUESTS_AT_ONCE
    }

    /// Sends all pieces until the encoder has no more. `key` names the n-th file, from 0, in
    /// its folder.
    ///
    /// # Errors
    /// A storage reason; the uploads are to be aborted then.
    pub async fn take(
        &mut self,
        pieces: &mut mpsc::Receiver<Piece>,
        key: impl Fn(u32, &str) -> String,
    ) -> Result<(), Failure> {
        loop {
            let has_room = self.has_room();
            tokio::select! {
                Some(sent) = self.sending.join_next() => self.arrive(sent)?,
                piece = pieces.recv(), if has_room => match piece {
                    Some(Piece::Open(folder)) => self.open(&folder, &key)?,
                    Some(Piece::Part(file, bytes)) => self.send(file, bytes)?,
                    Some(Piece::End(file, end)) => self.end(file, end)?,
                    None => break,
                },
            }
        }
        while let Some(sent) = self.sending.join_next().await {
            self.arrive(sent)?;
        }
        Ok(())
    }

    /// What the record says of the files. Asked when all pieces are sent.
    ///
    /// # Errors
    /// `Internal` where a file has no end, or not all of its parts.
    pub fn record(&self) -> Result<Vec<PendingFile>, Failure> {
        let unfinished = || internal("the file has no footer or no upload");
        self.files
            .iter()
            .map(|file| {
                let end = file.end.ok_or_else(unfinished)?;
                let multipart = file.multipart.get().ok_or_else(unfinished)?;
                multipart.record(file.arrived.clone(), end.bytes, end.rows)
            })
            .collect()
    }

    /// Removes everything this process has sent.
    ///
    /// What cannot be removed is logged and left to recovery and the cleanup of abandoned runs: the failure that led
    /// here is the one to be reported.
    pub async fn abort(&mut self) {
        // a part that arrives after its upload was aborted would stay
        self.sending.shutdown().await;
        for file in self.files.drain(..) {
            // recovery and the cleanup of abandoned runs remove an upload whose creation was not answered
            let Some(multipart) = file.multipart.get() else { continue };
            if let Err(failure) = multipart.abort(&self.s3).await {
                tracing::warn!(reason = %failure.report.reason, "cannot abort the upload; recovery or the cleanup of abandoned runs aborts it");
            }
        }
    }

    fn open(&mut self, folder: &str, key: &impl Fn(u32, &str) -> String) -> Result<(), Failure> {
        if self.files.len() >= FILES_MAX {
            return Err(Failure::permanent(
                Reason::InvalidSpec,
                format!("one partition makes more than {FILES_MAX} files"),
                "Let the database sort the rows (output.partitionSort: always), choose fewer or coarser \
                 columns for output.partitionBy, or use more partitions (extract.partition.count).",
            ));
        }
        let number = u32::try_from(self.files.len()).map_err(|_| internal("too many files"))?;
        let key = key(number, folder);
        let multipart = Arc::default();
        self.files.push(File { key, multipart, begun: 0, arrived: Vec::new(), end: None });
        Ok(())
    }

    fn send(&mut self, index: usize, bytes: Bytes) -> Result<(), Failure> {
        let file = self.unfinished(index)?;
        file.begun += 1;
        let (number, key, multipart) = (file.begun, file.key.clone(), Arc::clone(&file.multipart));
        let (s3, bucket, token) = (self.s3.clone(), self.bucket.clone(), self.token.clone());
        self.sending_bytes += bytes.len();
        self.sending.spawn(async move {
            let begun = multipart.get_or_try_init(|| Multipart::create(&s3, &bucket, key, &token));
            let length = bytes.len();
            begun.await?.send(&s3, number, bytes).await.map(|part| (index, length, part))
        });
        Ok(())
    }

    fn end(&mut self, index: usize, end: FileEnd) -> Result<(), Failure> {
        self.unfinished(index)?.end = Some(end);
        Ok(())
    }

    fn unfinished(&mut self, index: usize) -> Result<&mut File, Failure> {
        let file = self.files.get_mut(index).filter(|file| file.end.is_none());
        file.ok_or_else(|| internal("the part belongs to no open file"))
    }

    fn arrive(&mut self, sent: Result<Result<Sent, Failure>, JoinError>) -> Result<(), Failure> {
        let (index, length, part) =
            sent.map_err(|_| internal("the upload task of a part panicked"))??;
        self.sending_bytes -= length;
        self.files[index].arrived.push(part);
        Ok(())
    }
}

fn internal(message: &str) -> Failure {
    Failure::permanent(Reason::Internal, message, REPORT)
}
