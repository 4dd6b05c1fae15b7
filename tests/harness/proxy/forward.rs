//! One request: which operation it is, what is done to it, and the log.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};
use hyper::http::{request, response};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::checksums::Judged;
use super::operations::operation;
use super::rules::Fault;
use super::{Asked, Shared, Speaks, lock};

/// A body that is whole, or breaks off.
pub(super) struct Sent {
    rest: Option<Bytes>,
    size: u64,
    breaks: bool,
    /// What was sent so far goes out before it breaks.
    flushes: bool,
    live: Option<Live>,
}

/// A reply that is passed on as it comes, with the connection that it comes by.
struct Live {
    body: Incoming,
    _connection: AbortOnDrop,
}

struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Sent {
    fn whole(bytes: Bytes) -> Self {
        Self {
            size: bytes.len() as u64,
            rest: Some(bytes),
            breaks: false,
            flushes: false,
            live: None,
        }
    }

    /// Says that it is whole, and sends half of it.
    fn half(bytes: &Bytes) -> Self {
        let size = bytes.len() as u64;
        let rest = Some(bytes.slice(..bytes.len() / 2));
        Self { rest, size, breaks: true, flushes: false, live: None }
    }
}

impl Body for Sent {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if let Some(live) = &mut self.live {
            let frame = Pin::new(&mut live.body).poll_frame(context);
            return frame.map(|frame| frame.map(|frame| frame.map_err(io::Error::other)));
        }
        match self.rest.take() {
            Some(bytes) if !bytes.is_empty() => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            _ if self.flushes => {
                self.flushes = false;
                context.waker().wake_by_ref();
                Poll::Pending
            }
            _ if self.breaks => Poll::Ready(Some(Err(cut()))),
            _ => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        !self.breaks && self.live.is_none() && self.rest.as_ref().is_none_or(Bytes::is_empty)
    }

    fn size_hint(&self) -> SizeHint {
        if self.live.is_some() { SizeHint::default() } else { SizeHint::with_exact(self.size) }
    }
}

fn cut() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, "cut by a rule")
}

/// A whole request or reply.
type Whole<P> = (P, Bytes);
type Reply = Whole<response::Parts>;

pub(super) async fn serve(
    shared: Arc<Shared>,
    request: Request<Incoming>,
) -> Result<Response<Sent>, io::Error> {
    let at = Instant::now();
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let operation = operation(shared.speaks, &parts);
    let (target, said) = match shared.speaks {
        Speaks::S3 | Speaks::Kubernetes(_) => (parts.uri.to_string(), Value::Null),
        Speaks::DynamoDb => (String::new(), serde_json::from_slice(&body).unwrap_or_default()),
    };
    let text = if target.is_empty() {
        String::from_utf8_lossy(&body).into_owned()
    } else {
        target.clone()
    };
    let twin = lock(&shared.twin).clone();
    if let Some((status, said)) = twin.and_then(|twin| twin(&operation, &target, &body)) {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        return Ok(reply_of(status, "application/xml", said));
    }
    let fault = lock(&shared.rules).iter_mut().find_map(|rule| rule.meets(&operation, &text));
    let watches = operation.starts_with("WATCH ");
    let judged =
        lock(&shared.checks).as_mut().map(|checks| checks.judge(&operation, &parts, &body));
    let asked = Asked { operation, target, body: said, status: None, at };
    let index = {
        let mut log = lock(&shared.log);
        log.push(asked);
        log.len() - 1
    };
    let request = (parts, body);
    let reply = match fault {
        None if matches!(judged, Some(Judged::Refused(..))) => match judged {
            Some(Judged::Refused(status, code)) => Ok(made(shared.speaks, status, code)),
            _ => Err(cut()),
        },
        None if watches => live(shared.speaks, request).await,
        Some(Fault::Hold(gate)) if watches => {
            gate.pass().await;
            live(shared.speaks, request).await
        }
        fault => act(shared.speaks, fault, request).await,
    };
    let reply = match (reply, judged) {
        (Ok(mut reply), Some(Judged::Taken(Some((name, value))))) => {
            reply.headers_mut().insert(name, value);
            Ok(reply)
        }
        (reply, _) => reply,
    };
    if let (Ok(reply), Some(asked)) = (&reply, lock(&shared.log).get_mut(index)) {
        asked.status = Some(reply.status().as_u16());
    }
    reply
}

async fn act(
    speaks: Speaks,
    fault: Option<Fault>,
    request: Whole<request::Parts>,
) -> Result<Response<Sent>, io::Error> {
    let reply = match fault {
        Some(Fault::Say(body)) => return Ok(reply_of(StatusCode::OK, "application/json", body)),
        Some(Fault::Answer(status, code)) => return Ok(made(speaks, status, code)),
        Some(Fault::Refuse) => return Err(cut()),
        Some(Fault::Delay(time)) => {
            tokio::time::sleep(time).await;
            pass(speaks, request, Sent::whole).await
        }
        Some(Fault::Hold(gate)) => {
            gate.pass().await;
            pass(speaks, request, Sent::whole).await
        }
        Some(Fault::CutRequest) => {
            let _ = pass(speaks, request, |body| Sent::half(&body)).await;
            return Err(cut());
        }
        Some(Fault::NewToken) => pass(speaks, forgotten(request), Sent::whole).await,
        Some(Fault::Swap(status, code)) => {
            pass(speaks, request, Sent::whole).await?;
            return Ok(made(speaks, status, code));
        }
        Some(Fault::LoseReply) => {
            pass(speaks, request, Sent::whole).await?;
            return Err(cut());
        }
        Some(Fault::HoldReply(gate)) => {
            let reply = pass(speaks, request, Sent::whole).await;
            gate.pass().await;
            reply
        }
        Some(Fault::CutReply) => {
            let (parts, body) = pass(speaks, request, Sent::whole).await?;
            return Ok(Response::from_parts(parts, Sent::half(&body)));
        }
        Some(Fault::CutBody) => {
            let (parts, body) = pass(speaks, request, Sent::whole).await?;
            return Ok(Response::from_parts(parts, Sent { flushes: true, ..Sent::half(&body) }));
        }
        None => pass(speaks, request, Sent::whole).await,
    };
    reply.map(|(parts, body)| Response::from_parts(parts, Sent::whole(body)))
}

/// Sends it on over a connection of its own.
async fn pass(
    speaks: Speaks,
    (parts, body): Whole<request::Parts>,
    sent: impl FnOnce(Bytes) -> Sent,
) -> Result<Reply, io::Error> {
    let head = parts.method == Method::HEAD;
    let stream = TcpStream::connect(speaks.upstream()).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    let connection = tokio::spawn(connection);
    let request = Request::from_parts(parts, sent(body));
    let reply = sender.send_request(request).await.map_err(io::Error::other)?;
    let (mut parts, body) = reply.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    connection.abort();
    parts.headers.remove(TRANSFER_ENCODING);
    parts.headers.remove(CONNECTION);
    if !head {
        parts.headers.insert(CONTENT_LENGTH, body.len().into());
    }
    Ok((parts, body))
}

/// Sends it on, and passes the reply on as it comes: a watch has no end.
async fn live(
    speaks: Speaks,
    (parts, body): Whole<request::Parts>,
) -> Result<Response<Sent>, io::Error> {
    let stream = TcpStream::connect(speaks.upstream()).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    let connection = AbortOnDrop(tokio::spawn(async move {
        let _ = connection.await;
    }));
    let request = Request::from_parts(parts, Sent::whole(body));
    let reply = sender.send_request(request).await.map_err(io::Error::other)?;
    let (mut parts, body) = reply.into_parts();
    parts.headers.remove(TRANSFER_ENCODING);
    parts.headers.remove(CONNECTION);
    let live = Some(Live { body, _connection: connection });
    Ok(Response::from_parts(
        parts,
        Sent { rest: None, size: 0, breaks: false, flushes: false, live },
    ))
}

/// DynamoDB Local does not check signatures, so the body may change.
fn forgotten((mut parts, body): Whole<request::Parts>) -> Whole<request::Parts> {
    let Ok(mut said) = serde_json::from_slice::<Value>(&body) else { return (parts, body) };
    said["ClientRequestToken"] = json!(crate::unique("forgotten"));
    let body = Bytes::from(said.to_string());
    parts.headers.insert(CONTENT_LENGTH, body.len().into());
    (parts, body)
}

fn made(speaks: Speaks, status: u16, code: &str) -> Response<Sent> {
    let (kind, body) = match speaks {
        Speaks::S3 => (
            "application/xml",
            format!(
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code>\
                 <Message>by a rule</Message><RequestId>r</RequestId></Error>"
            ),
        ),
        Speaks::Kubernetes(_) => {
            let body = json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure",
                "message": "by a rule", "reason": code, "code": status });
            ("application/json", body.to_string())
        }
        Speaks::DynamoDb => {
            let kind = format!("com.amazonaws.dynamodb.v20120810#{code}");
            let reasons = json!([{ "Code": "ConditionalCheckFailed" }]);
            let mut said = json!({ "__type": kind, "message": "by a rule" });
            if code == "TransactionCanceledException" {
                said["CancellationReasons"] = reasons;
            }
            ("application/x-amz-json-1.0", said.to_string())
        }
    };
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    reply_of(status, kind, Bytes::from(body))
}

fn reply_of(status: StatusCode, kind: &'static str, body: Bytes) -> Response<Sent> {
    let mut reply = Response::new(Sent::whole(body));
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(kind));
    reply
}
