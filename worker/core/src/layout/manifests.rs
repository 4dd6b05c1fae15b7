//! What readers follow: `current.json` names a manifest, a manifest names the files of one run and
//! its parent. All of them are deterministic: no clock, no process, sorted.

mod lists;
mod manifest;

pub use self::lists::{Lists, each_earlier_file, each_file, read_head};
pub use self::manifest::{
    Before, Earlier, FileCount, ListedFile, Listing, Manifest, ManifestFile, ManifestHead, Pointer,
    SourceIdentity, TOKEN_METADATA, head, lists_all,
};
