//! Control objects as bytes.

use serde::Serialize;

/// The bytes of a control object: the same for the same value.
pub fn to_body<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec_pretty(value).unwrap_or_default()
}
