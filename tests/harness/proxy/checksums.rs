//! What S3 asks of a bucket that locks its objects: bytes come with a checksum that fits them, and an
//! upload is completed with the checksums of its parts. The S3 server of the test environment asks for nothing.

use std::collections::BTreeMap;

use bytes::Bytes;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::http::request;
use sha2::{Digest, Sha256};

const CRC64_NVME: &str = "x-amz-checksum-crc64nvme";
const SHA256: &str = "x-amz-checksum-sha256";

/// Uploads and parts, as this bucket knows them.
#[derive(Debug, Default)]
pub(super) struct Checks {
    /// Key of an upload, and how many bytes came for it with a checksum: path, part, checksum.
    parts: BTreeMap<(String, String), String>,
    /// How many requests were judged and taken.
    pub(super) taken: usize,
}

/// What is answered instead, or the header that goes with the reply.
pub(super) enum Judged {
    Refused(u16, &'static str),
    Taken(Option<(HeaderName, HeaderValue)>),
}

impl Checks {
    /// Judges a request by operation, headers and body.
    pub(super) fn judge(
        &mut self,
        operation: &str,
        parts: &request::Parts,
        body: &Bytes,
    ) -> Judged {
        match operation {
            "CreateMultipartUpload" => {
                let named = parts.headers.contains_key("x-amz-checksum-algorithm");
                if named { Judged::Taken(None) } else { Judged::Refused(400, "InvalidRequest") }
            }
            "PutObject" | "UploadPart" | "DeleteObjects" => self.bytes(operation, parts, body),
            "CompleteMultipartUpload" => self.complete(parts, body),
            _ => Judged::Taken(None),
        }
    }

    fn bytes(&mut self, operation: &str, parts: &request::Parts, body: &Bytes) -> Judged {
        let Some((name, sent)) = named(&parts.headers) else {
            return Judged::Refused(400, "InvalidRequest");
        };
        let made = if name == SHA256 {
            base64(&Sha256::digest(body))
        } else {
            base64(&crc64_nvme(body).to_be_bytes())
        };
        if made != sent {
            return Judged::Refused(400, "BadDigest");
        }
        self.taken += 1;
        if operation == "UploadPart" {
            let (upload, part) = upload_of(parts);
            self.parts.insert((upload, part), sent.clone());
        }
        let value = HeaderValue::from_str(&sent).ok();
        Judged::Taken(value.map(|value| (HeaderName::from_static(name), value)))
    }

    /// Every part is named with the checksum that it came with.
    fn complete(&self, parts: &request::Parts, body: &Bytes) -> Judged {
        let (upload, _) = upload_of(parts);
        let text = String::from_utf8_lossy(body);
        let mut sent = self.parts.iter().filter(|((of, _), _)| *of == upload);
        let all = sent.all(|(_, checksum)| text.contains(&format!(">{checksum}<")));
        if all { Judged::Taken(None) } else { Judged::Refused(400, "InvalidPart") }
    }
}

fn named(headers: &HeaderMap) -> Option<(&'static str, String)> {
    [CRC64_NVME, SHA256].into_iter().find_map(|name| {
        let sent = headers.get(name)?.to_str().ok()?;
        Some((name, sent.to_owned()))
    })
}

/// Id of the upload and number of the part, by the query.
fn upload_of(parts: &request::Parts) -> (String, String) {
    let query = parts.uri.query().unwrap_or_default();
    let value = |name: &str| {
        let found = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        found.unwrap_or_default().to_owned()
    };
    (value("uploadId"), value("partNumber"))
}

/// Bit by bit, from the specification of the NVMe command set: what the product uses is the SDK's.
fn crc64_nvme(bytes: &[u8]) -> u64 {
    let mut crc = u64::MAX;
    for byte in bytes {
        crc ^= u64::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0x9a6c_9329_ac4b_c9b5 } else { crc >> 1 };
        }
    }
    !crc
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let group = chunk.iter().fold(0_u32, |group, byte| group << 8 | u32::from(*byte));
        let group = group << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let letter = (group >> (18 - 6 * place)) & 63;
            text.push(if place > chunk.len() { '=' } else { LETTERS[letter as usize].into() });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_value_of_the_specification_is_computed() {
        assert_eq!(crc64_nvme(b"123456789"), 0xae8b_1486_0a79_9888);
        assert_eq!(base64(b"Ma"), "TWE=");
        assert_eq!(base64(b"Man"), "TWFu");
        assert_eq!(base64(b"M"), "TQ==");
    }
}
