//! The lists of a manifest, read and written one file at a time: a run may have more files than a
//! process can hold.

use std::fmt;
use std::io::Read;

use crds::RunId;
use serde::de::{DeserializeOwned, DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess};
use serde::de::{Deserializer, Visitor};
use serde::ser::SerializeSeq;
use serde::{Deserialize, Serialize, Serializer};

use super::manifest::FileCount;
use super::manifest::{ListedFile, ManifestFile, ManifestHead};
use crate::layout::body::to_body;

impl Serialize for FileCount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_seq(Some(0))?.end()
    }
}

impl<'de> Deserialize<'de> for FileCount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut count = 0;
        let mut each = |_: IgnoredAny| {
            count += 1;
            true
        };
        Items { each: &mut each }.deserialize(deserializer)?;
        Ok(Self(count))
    }
}

/// Reads a manifest but for its lists.
///
/// # Errors
/// If the text is not a manifest.
pub fn read_head(reader: &mut dyn Read) -> Result<ManifestHead, serde_json::Error> {
    serde_json::from_reader(reader)
}

/// Calls `each` with every file of a manifest as it is read, until it returns false.
///
/// # Errors
/// If the text is not a manifest, or `each` has returned false.
pub fn each_file(
    reader: &mut dyn Read,
    each: &mut dyn FnMut(ManifestFile) -> bool,
) -> Result<(), serde_json::Error> {
    each_at(reader, &["files"], each)
}

/// Calls `each` with every file of the earlier runs of a manifest, as [`each_file`] does.
///
/// # Errors
/// As [`each_file`].
pub fn each_earlier_file(
    reader: &mut dyn Read,
    each: &mut dyn FnMut(ListedFile) -> bool,
) -> Result<(), serde_json::Error> {
    each_at(reader, &["earlier", "files"], each)
}

fn each_at<T: DeserializeOwned>(
    reader: &mut dyn Read,
    path: &'static [&'static str],
    each: &mut dyn FnMut(T) -> bool,
) -> Result<(), serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_reader(reader);
    Under { path, each }.deserialize(&mut deserializer)?;
    deserializer.end()
}

/// The value at the end of a path of keys; all else is passed over.
struct Under<'a, T> {
    path: &'static [&'static str],
    each: &'a mut dyn FnMut(T) -> bool,
}

impl<'de, T: DeserializeOwned> DeserializeSeed<'de> for Under<'_, T> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.path.is_empty() {
            return Items { each: self.each }.deserialize(deserializer);
        }
        deserializer.deserialize_map(self)
    }
}

impl<'de, T: DeserializeOwned> Visitor<'de> for Under<'_, T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Some((wanted, path)) = self.path.split_first() else { return Ok(()) };
        while let Some(key) = map.next_key::<String>()? {
            if key == *wanted {
                map.next_value_seed(Under { path, each: &mut *self.each })?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

struct Items<'a, T> {
    each: &'a mut dyn FnMut(T) -> bool,
}

impl<'de, T: Deserialize<'de>> DeserializeSeed<'de> for Items<'_, T> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for Items<'_, T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while let Some(item) = items.next_element()? {
            if !(self.each)(item) {
                return Err(A::Error::custom("no more is wanted"));
            }
        }
        Ok(())
    }
}

/// Writes a manifest file by file, into the same bytes as [`to_body`] makes of a whole one. What is
/// appended to `out` may be taken from there at any time.
#[derive(Debug)]
pub struct Lists {
    list: List,
    earlier: bool,
}

impl Lists {
    /// Begins a manifest; [`Self::file`] comes next.
    pub fn begin(head: &ManifestHead, out: &mut Vec<u8>) -> Self {
        let plain = ManifestHead { earlier: None, ..head.clone() };
        let body = to_body(&plain);
        out.extend(body.strip_suffix(b"[]\n}").unwrap_or(&body));
        Self { list: List::at(2), earlier: false }
    }

    /// The next file of the run's own.
    pub fn file(&mut self, out: &mut Vec<u8>, file: &ManifestFile) {
        self.list.item(out, file);
    }

    /// Ends the run's own files and begins those before it: these runs', and then
    /// [`Self::earlier_file`].
    pub fn earlier(&mut self, out: &mut Vec<u8>, runs: &[RunId]) {
        self.list.end(out);
        out.extend(b",\n  \"earlier\": {\n    \"runs\": ");
        let mut list = List::at(4);
        for run in runs {
            list.item(out, run);
        }
        list.end(out);
        out.extend(b",\n    \"files\": ");
        *self = Self { list: List::at(4), earlier: true };
    }

    /// The next file of the runs before.
    pub fn earlier_file(&mut self, out: &mut Vec<u8>, file: &ListedFile) {
        self.list.item(out, file);
    }

    /// Ends the manifest.
    pub fn end(mut self, out: &mut Vec<u8>) {
        self.list.end(out);
        out.extend(if self.earlier { &b"\n  }\n}"[..] } else { b"\n}" });
    }
}

/// A list of a pretty-printed object, item by item.
#[derive(Debug)]
struct List {
    indent: usize,
    any: bool,
}

impl List {
    /// The value of a key that is indented so far.
    const fn at(indent: usize) -> Self {
        Self { indent, any: false }
    }

    fn item<T: Serialize>(&mut self, out: &mut Vec<u8>, item: &T) {
        out.extend(if self.any { &b",\n"[..] } else { b"[\n" });
        self.any = true;
        // texts hold no line break: JSON writes it as two letters
        for (at, line) in to_body(item).split(|byte| *byte == b'\n').enumerate() {
            if at > 0 {
                out.push(b'\n');
            }
            out.resize(out.len() + self.indent + 2, b' ');
            out.extend(line);
        }
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        if !self.any {
            out.extend(b"[]");
            return;
        }
        out.push(b'\n');
        out.resize(out.len() + self.indent, b' ');
        out.push(b']');
    }
}
