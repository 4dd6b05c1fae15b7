//! In: the checksum that `--checksum` names. Out: every request that sends bytes of an object has
//! it. Bound: one request. Fails: never.
//!
//! S3 takes no bytes without one into a bucket that locks its objects. A part's checksum is in the
//! record next to its `ETag`, because the upload is completed by another process, which must repeat it.

use aws_sdk_s3::config::interceptors::BeforeSerializationInterceptorContextMut;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use aws_sdk_s3::operation::create_multipart_upload::CreateMultipartUploadInput;
use aws_sdk_s3::operation::delete_objects::DeleteObjectsInput;
use aws_sdk_s3::operation::put_object::PutObjectInput;
use aws_sdk_s3::operation::upload_part::{UploadPartInput, UploadPartOutput};
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumType, CompletedPart};
use clap::ValueEnum;

/// Which checksum is sent with the bytes of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Checksum {
    /// CRC-64/NVME, which AWS also computes if a request has no checksum.
    #[default]
    #[value(name = "crc64nvme")]
    Crc64Nvme,
    /// SHA-256.
    Sha256,
    /// No checksum, for a store that refuses the header.
    Off,
}

impl Checksum {
    /// As S3 names it; absent where none is sent.
    pub(crate) fn algorithm(self) -> Option<ChecksumAlgorithm> {
        match self {
            Self::Crc64Nvme => Some(ChecksumAlgorithm::Crc64Nvme),
            Self::Sha256 => Some(ChecksumAlgorithm::Sha256),
            Self::Off => None,
        }
    }

    /// How the checksum of a multipart upload is made of those of its parts.
    fn of_upload(self) -> Option<ChecksumType> {
        match self {
            Self::Crc64Nvme => Some(ChecksumType::FullObject),
            Self::Sha256 => Some(ChecksumType::Composite),
            Self::Off => None,
        }
    }
}

/// Names the checksum in the requests; the SDK computes it.
#[derive(Debug)]
pub(crate) struct Checksums(pub(crate) Checksum);

impl Intercept for Checksums {
    fn name(&self) -> &'static str {
        "Checksums"
    }

    fn modify_before_serialization(
        &self,
        context: &mut BeforeSerializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let input = context.input_mut();
        if let Some(put) = input.downcast_mut::<PutObjectInput>() {
            put.checksum_algorithm = self.0.algorithm();
        } else if let Some(part) = input.downcast_mut::<UploadPartInput>() {
            part.checksum_algorithm = self.0.algorithm();
        } else if let Some(upload) = input.downcast_mut::<CreateMultipartUploadInput>() {
            upload.checksum_algorithm = self.0.algorithm();
            upload.checksum_type = self.0.of_upload();
        } else if let Some(deletes) = input.downcast_mut::<DeleteObjectsInput>() {
            // S3 requires a checksum of the list. With `None` the SDK sends its default checksum
            deletes.checksum_algorithm = self.0.algorithm();
        }
        Ok(())
    }
}

const CRC64_NVME: &str = "crc64nvme:";
const SHA256: &str = "sha256:";

/// The checksum of a part by the store's own answer, as a record keeps it.
pub(crate) fn of_part(sent: &UploadPartOutput) -> Option<String> {
    let crc = sent.checksum_crc64_nvme().map(|text| format!("{CRC64_NVME}{text}"));
    crc.or_else(|| sent.checksum_sha256().map(|text| format!("{SHA256}{text}")))
}

/// A part that is to be completed, with the checksum that its record keeps.
pub(crate) fn completed(number: i32, etag: &str, checksum: Option<&String>) -> CompletedPart {
    let checksum = checksum.map(String::as_str);
    CompletedPart::builder()
        .part_number(number)
        .e_tag(etag)
        .set_checksum_crc64_nvme(
            checksum.and_then(|text| text.strip_prefix(CRC64_NVME)).map(Into::into),
        )
        .set_checksum_sha256(checksum.and_then(|text| text.strip_prefix(SHA256)).map(Into::into))
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recorded_checksum_is_repeated_under_its_own_name() {
        let crc = completed(1, "e", Some(&"crc64nvme:AAAA".to_owned()));
        assert_eq!((crc.checksum_crc64_nvme(), crc.checksum_sha256()), (Some("AAAA"), None));
        let sha = completed(2, "e", Some(&"sha256:BBBB".to_owned()));
        assert_eq!((sha.checksum_crc64_nvme(), sha.checksum_sha256()), (None, Some("BBBB")));
        for kept in [None, Some("of-a-later-release:CCCC".to_owned())] {
            let none = completed(3, "e", kept.as_ref());
            assert_eq!((none.checksum_crc64_nvme(), none.checksum_sha256()), (None, None));
        }
    }
}
