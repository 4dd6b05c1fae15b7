//! Control objects as bytes.

use std::fmt;
use std::io::Read;

use serde::Serialize;
use serde::de::{Deserializer as _, IgnoredAny, MapAccess, Visitor};

/// The bytes of a control object: the same for the same value.
pub fn to_body<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec_pretty(value).unwrap_or_default()
}

/// The `version` of a control object; `None` if it has none. Reads nothing after the version, because a plan or manifest
/// may have many megabytes. Tidemark writes the version first.
pub fn version_of(reader: &mut dyn Read) -> Option<u64> {
    let mut found = None;
    // the deserializer reports the unread rest as an error, which is ignored
    let _ = serde_json::Deserializer::from_reader(reader).deserialize_map(Version(&mut found));
    found
}

struct Version<'a>(&'a mut Option<u64>);

impl<'de> Visitor<'de> for Version<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            if key == "version" {
                *self.0 = map.next_value()?;
                return Ok(());
            }
            map.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_is_found_at_any_position_of_the_top_level_only() {
        let of = |text: &str| version_of(&mut text.as_bytes());
        assert_eq!(of(r#"{"version": 2, "files": []}"#), Some(2));
        assert_eq!(of(r#"{"files": [{"version": 9}], "version": 3}"#), Some(3));
        for none in [r#"{"files": [{"version": 9}]}"#, r#"{"version": "2"}"#, "[]", "", "{"] {
            assert_eq!(of(none), None, "{none}");
        }
    }

    #[test]
    fn nothing_after_the_version_is_read() {
        /// Fails after the last byte of the text.
        struct Broken<'a>(&'a [u8]);
        impl Read for Broken<'_> {
            fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
                if self.0.is_empty() {
                    return Err(std::io::ErrorKind::ConnectionReset.into());
                }
                self.0.read(out)
            }
        }
        assert_eq!(version_of(&mut Broken(br#"{ "version": 7, "run": "#)), Some(7));
        // fields before the version are skipped
        assert_eq!(version_of(&mut Broken(br#"{ "a": [1, {}], "version": 7, "#)), Some(7));
        assert_eq!(version_of(&mut Broken(br#"{ "a": [1, "#)), None);
    }
}
