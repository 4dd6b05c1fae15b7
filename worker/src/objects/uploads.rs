//! The uploads of one process: pieces of files come in, pending files go out.

use std::sync::Arc;

use aws_sdk_s3::Client;
use bytes::Bytes;
use crds::Reason;
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};
use worker_core::error::Failure;
use worker_core::records::PendingFile;

use super::{Multipart, StoredPart};
use crate::files::{FileEnd, Piece};

/// All uploads that this process has begun for one range.
///
/// *Memory*: as many parts as may be in flight. Dropped without [`Uploads::abort`], it leaves
/// open uploads behind, which settle and the sweeper remove.
#[derive(Debug)]
pub struct Uploads {
    s3: Client,
    bucket: String,
    token: String,
    parts_in_flight: usize,
    files: Vec<File>,
    sending: JoinSet<Result<(usize, StoredPart), Failure>>,
}

/// One file and what has become of it.
#[derive(Debug)]
struct File {
    multipart: Arc<Multipart>,
    /// Parts given to S3, whether they have arrived or not.
    begun: i32,
    arrived: Vec<StoredPart>,
    end: Option<FileEnd>,
}

impl Uploads {
    /// No upload yet.
    pub fn new(s3: &Client, bucket: &str, token: &str, parts_in_flight: usize) -> Self {
        Self {
            s3: s3.clone(),
            bucket: bucket.to_owned(),
            token: token.to_owned(),
            parts_in_flight: parts_in_flight.max(1),
            files: Vec::new(),
            sending: JoinSet::new(),
        }
    }

    /// Sends all pieces until the encoder has no more. `key` names the n-th file, from 0.
    ///
    /// # Errors
    /// A storage reason; the uploads are to be aborted then.
    pub async fn take(
        &mut self,
        pieces: &mut mpsc::Receiver<Piece>,
        key: impl Fn(u32) -> String,
    ) -> Result<(), Failure> {
        loop {
            let has_room = self.sending.len() < self.parts_in_flight;
            tokio::select! {
                Some(sent) = self.sending.join_next() => self.arrive(sent)?,
                piece = pieces.recv(), if has_room => match piece {
                    Some(Piece::Part(bytes)) => self.send(bytes, &key).await?,
                    Some(Piece::End(end)) => self.end(end)?,
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
        let unfinished = || internal("a file without its end was sent");
        self.files
            .iter()
            .map(|file| {
                let end = file.end.ok_or_else(unfinished)?;
                file.multipart.record(file.arrived.clone(), end.bytes, end.rows)
            })
            .collect()
    }

    /// Removes everything this process has sent.
    ///
    /// What cannot be removed is logged and left to settle and the sweeper: the failure that led
    /// here is the one to be reported.
    pub async fn abort(&mut self) {
        // a part that arrives after its upload was aborted would stay
        self.sending.shutdown().await;
        for file in self.files.drain(..) {
            if let Err(failure) = file.multipart.abort(&self.s3).await {
                tracing::warn!(reason = %failure.report.reason, "upload not aborted");
            }
        }
    }

    async fn send(&mut self, bytes: Bytes, key: &impl Fn(u32) -> String) -> Result<(), Failure> {
        if self.files.last().is_none_or(|file| file.end.is_some()) {
            let number = u32::try_from(self.files.len()).map_err(|_| internal("too many files"))?;
            let multipart =
                Multipart::create(&self.s3, &self.bucket, key(number), &self.token).await?;
            self.files.push(File {
                multipart: Arc::new(multipart),
                begun: 0,
                arrived: Vec::new(),
                end: None,
            });
        }
        let index = self.files.len() - 1;
        let file = &mut self.files[index];
        file.begun += 1;
        let (number, multipart, s3) = (file.begun, Arc::clone(&file.multipart), self.s3.clone());
        self.sending.spawn(async move {
            multipart.send(&s3, number, bytes).await.map(|part| (index, part))
        });
        Ok(())
    }

    fn end(&mut self, end: FileEnd) -> Result<(), Failure> {
        let file = self.files.last_mut().filter(|file| file.end.is_none());
        file.ok_or_else(|| internal("a file ended that never began"))?.end = Some(end);
        Ok(())
    }

    fn arrive(
        &mut self,
        sent: Result<Result<(usize, StoredPart), Failure>, JoinError>,
    ) -> Result<(), Failure> {
        let (index, part) = sent.map_err(|_| internal("the upload of a part broke off"))??;
        self.files[index].arrived.push(part);
        Ok(())
    }
}

fn internal(message: &str) -> Failure {
    Failure::permanent(Reason::Internal, message, "report this as a defect")
}
