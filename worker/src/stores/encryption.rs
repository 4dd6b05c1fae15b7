//! In: the key of `output.kmsKeyId`. Out: every object of Tidemark is requested to be encrypted with it, and
//! every answer checked. Bound: one request. Fails: [`NotEncrypted`].

use std::fmt;

use aws_sdk_s3::config::interceptors::{
    BeforeDeserializationInterceptorContextRef, BeforeTransmitInterceptorContextMut,
};
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use aws_smithy_types::config_bag::{Storable, StoreReplace};

const HOW: &str = "x-amz-server-side-encryption";
const KEY: &str = "x-amz-server-side-encryption-aws-kms-key-id";
const KMS: &str = "aws:kms";

/// The object store took an object and did not say that it is encrypted as it was asked to.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("not encrypted as requested")]
pub struct NotEncrypted;

/// Asks for SSE-KMS. The two requests that create an object have the setting; of an upload the later
/// parts inherit it.
pub(crate) struct Encryption {
    key: String,
}

impl Encryption {
    /// With this key: its id, its ARN, or an alias.
    pub(crate) const fn new(key: String) -> Self {
        Self { key }
    }

    /// Whether what the store answered is what was asked for. It names the key by its ARN, however it
    /// was asked for; behind an alias any key may stand.
    fn is_met(&self, how: Option<&str>, key: Option<&str>) -> bool {
        let same = |found: &str| {
            let id = self.key.rsplit('/').next().unwrap_or(&self.key);
            self.key.contains("alias/") || found == self.key || found.rsplit('/').next() == Some(id)
        };
        how == Some(KMS) && key.is_some_and(same)
    }
}

impl fmt::Debug for Encryption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Encryption")
    }
}

/// Whether a request makes an object: a PUT of a whole one, or the beginning of an upload.
fn makes_object(method: &str, uri: &str) -> bool {
    let query = uri.split_once('?').map_or("", |(_, query)| query);
    let has = |name| query.split('&').any(|pair| pair.split('=').next() == Some(name));
    match method {
        "PUT" => !has("partNumber"),
        "POST" => has("uploads"),
        _ => false,
    }
}

/// The request has the setting, so its response is checked.
#[derive(Debug)]
struct Asked;

impl Storable for Asked {
    type Storer = StoreReplace<Self>;
}

impl Intercept for Encryption {
    fn name(&self) -> &'static str {
        "Encryption"
    }

    fn modify_before_signing(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        state: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let request = context.request_mut();
        if makes_object(request.method(), request.uri()) {
            request.headers_mut().insert(HOW, KMS);
            request.headers_mut().try_insert(KEY, self.key.clone())?;
            state.interceptor_state().store_put(Asked);
        }
        Ok(())
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        state: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let answer = context.response();
        if state.load::<Asked>().is_none() || !answer.status().is_success() {
            return Ok(());
        }
        let header = |name| answer.headers().get(name);
        if self.is_met(header(HOW), header(KEY)) { Ok(()) } else { Err(NotEncrypted.into()) }
    }
}

/// Whether this is why a request failed.
pub(crate) fn is_why(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.is::<NotEncrypted>() {
            return true;
        }
        next = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_that_create_objects_ask_for_the_encryption() {
        assert!(makes_object("PUT", "http://s3/b/k?x-id=PutObject"));
        assert!(makes_object("POST", "http://s3/b/k?uploads"));
        assert!(makes_object("POST", "http://s3/b/k?uploads="));
        assert!(!makes_object("PUT", "http://s3/b/k?partNumber=1&uploadId=x"));
        assert!(!makes_object("POST", "http://s3/b/k?uploadId=x"));
        assert!(!makes_object("GET", "http://s3/b/k"));
    }

    #[test]
    fn an_answer_is_compared_with_what_was_asked_for() {
        let arn = "arn:aws:kms:us-east-1:1:key/1234-ab";
        let met = |asked: &str, how, key| Encryption::new(asked.to_owned()).is_met(how, key);
        assert!(met(arn, Some(KMS), Some(arn)));
        assert!(met("1234-ab", Some(KMS), Some(arn)));
        assert!(met("alias/lake", Some(KMS), Some(arn)));
        assert!(!met("9999-ab", Some(KMS), Some(arn)));
        assert!(!met(arn, Some("AES256"), Some(arn)));
        assert!(!met(arn, Some(KMS), None));
        assert!(!met(arn, None, None));
    }
}
