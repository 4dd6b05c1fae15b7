//! The committed page of texts is the one that the program prints.

use std::process::Command;

use anyhow::{Result, ensure};

#[test]
fn committed_page_of_texts_is_the_printed_one() -> Result<()> {
    let run = Command::new(env!("CARGO_BIN_EXE_texts")).output()?;
    ensure!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let printed = String::from_utf8(run.stdout)?;
    let committed = include_str!("../docs/texts.md");
    let first = printed.lines().zip(committed.lines()).find(|(printed, old)| printed != old);
    ensure!(printed == committed, "docs/texts.md differs, run make texts: {first:?}");
    Ok(())
}
