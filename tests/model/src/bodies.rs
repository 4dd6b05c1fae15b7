//! In: bytes of objects. Out: [`Body`], what they say. Bound: one object. Fails: never; what cannot
//! be read is [`Parsed::Other`].

use serde_json::from_slice;
use worker_core::layout::manifests::{Manifest, Pointer, SourceIdentity};
use worker_core::layout::records::PartitionRecord;
use worker_core::planning::plan::{Plan, hash};

use crate::shop::{Shop, number};

/// An object's bytes, and what they say.
#[derive(Debug, PartialEq)]
pub(crate) struct Body {
    pub(crate) bytes: Vec<u8>,
    pub(crate) parsed: Parsed,
}

/// What an object says.
#[derive(Debug, PartialEq)]
pub(crate) enum Parsed {
    Plan(Box<Plan>, String),
    Record(Box<PartitionRecord>),
    Manifest(Box<Facts>),
    Pointer(Pointer),
    Identity(SourceIdentity),
    Other,
}

impl Body {
    /// The run that an object is of, if it is of one.
    pub(crate) fn run(&self) -> Option<u8> {
        match &self.parsed {
            Parsed::Plan(plan, _) => Some(number(plan.run)),
            Parsed::Record(record) => Some(number(record.run)),
            Parsed::Manifest(facts) => Some(facts.run),
            Parsed::Pointer(_) | Parsed::Identity(_) | Parsed::Other => None,
        }
    }
}

/// A manifest, in numbers.
#[derive(Debug, PartialEq)]
pub(crate) struct Facts {
    pub(crate) manifest: Manifest,
    pub(crate) run: u8,
    pub(crate) parent: Option<u8>,
    pub(crate) replaces: Vec<u8>,
    /// Key and upload of each file.
    pub(crate) files: Vec<(u32, u32)>,
    /// Rows of all files.
    pub(crate) rows: Vec<u8>,
}

/// A multipart upload that is open or was completed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Upload {
    pub(crate) key: String,
    pub(crate) id: String,
    pub(crate) key_id: u32,
    pub(crate) run: u8,
    pub(crate) index: u8,
    /// The rows in it.
    pub(crate) rows: Vec<u8>,
}

/// The id of an upload says what is in it.
pub(crate) fn upload_id(run: u8, index: u8, token: u8, rows: &[u8]) -> String {
    let rows: Vec<String> = rows.iter().map(ToString::to_string).collect();
    format!("{run}/{index}/{token}/{}", rows.join("+"))
}

impl Shop {
    /// The number of an upload, by key and id.
    pub(crate) fn upload(&self, key: &str, id: &str) -> u32 {
        let mut parts = id.split('/');
        let mut part = || parts.next().and_then(|part| part.parse().ok()).unwrap_or(u8::MAX);
        let (run, index) = (part(), part());
        let rows = id.rsplit('/').next().unwrap_or_default();
        let rows = rows.split('+').filter_map(|row| row.parse().ok()).collect();
        let key_id = self.keys.put(key.to_owned());
        self.uploads.put(Upload {
            key: key.to_owned(),
            id: id.to_owned(),
            key_id,
            run,
            index,
            rows,
        })
    }

    /// The number of an object's bytes.
    pub(crate) fn body(&self, key: &str, bytes: Vec<u8>) -> u32 {
        let parsed = self.parse(key, &bytes).unwrap_or(Parsed::Other);
        self.bodies.put(Body { bytes, parsed })
    }

    fn parse(&self, key: &str, bytes: &[u8]) -> Option<Parsed> {
        Some(if key.ends_with("/plan.json") {
            Parsed::Plan(Box::new(from_slice(bytes).ok()?), hash(bytes))
        } else if key.ends_with("/manifest.json") {
            Parsed::Manifest(Box::new(self.facts(from_slice(bytes).ok()?)))
        } else if key.ends_with("/current.json") {
            Parsed::Pointer(from_slice(bytes).ok()?)
        } else if key.ends_with("/source.json") {
            Parsed::Identity(from_slice(bytes).ok()?)
        } else {
            Parsed::Record(Box::new(from_slice(bytes).ok()?))
        })
    }

    fn facts(&self, manifest: Manifest) -> Facts {
        let uploads: Vec<u32> =
            manifest.files.iter().map(|file| self.upload(&file.key, &file.upload_id)).collect();
        let files = uploads.iter().map(|id| (self.uploads.get(*id).key_id, *id)).collect();
        let rows = uploads.iter().flat_map(|id| self.uploads.get(*id).rows.clone()).collect();
        Facts {
            run: number(manifest.run),
            parent: manifest.parent.map(number),
            replaces: manifest.replaces.iter().map(|run| number(*run)).collect(),
            files,
            rows,
            manifest,
        }
    }
}
