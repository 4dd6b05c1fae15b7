//! Prints `docs/texts.md`: every text that a user can read, collected from the source, the CRD and the programs.
//!
//! The programs are those next to this one, as `cargo build` left them.

mod help;
mod notes;
mod page;
mod prose;
mod schema;
mod source;

use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result};

fn main() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the workspace")?;
    let program = std::env::current_exe()?;
    let page = page::page(root, program.parent().context("the folder of the programs")?)?;
    std::io::stdout().write_all(page.as_bytes())?;
    Ok(())
}
