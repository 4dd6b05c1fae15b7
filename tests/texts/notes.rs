//! What `helm install` prints.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result};

/// Adds the notes of both charts.
pub(crate) fn write(page: &mut String, root: &Path) -> Result<()> {
    page.push_str("\n## Notes of the charts\n");
    for chart in ["tidemark-crds", "tidemark"] {
        let path = root.join("charts").join(chart).join("templates/NOTES.txt");
        let notes = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let _ = write!(page, "\n### Chart {chart}\n\n```text\n{}\n```\n", notes.trim_end());
    }
    Ok(())
}
