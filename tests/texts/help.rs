//! What `--help` prints, of both programs and of all their commands.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

/// Adds the help pages of the programs in this folder.
pub(crate) fn write(page: &mut String, programs: &Path) -> Result<()> {
    page.push_str("\n## Help pages\n");
    for program in ["tidemark", "tidemark-operator"] {
        command(page, programs, program, &[])?;
    }
    Ok(())
}

fn command(page: &mut String, programs: &Path, program: &str, path: &[&str]) -> Result<()> {
    // the help shows the values that variables of the environment have
    let output = Command::new(programs.join(program))
        .args(path)
        .arg("--help")
        .env_clear()
        .output()
        .with_context(|| format!("{program} is not built: run make build"))?;
    let help = String::from_utf8(output.stdout)?;
    ensure!(output.status.success(), "{program} {path:?} --help failed");
    let name = [&[program], path].concat().join(" ");
    let _ = write!(page, "\n### {name}\n\n```text\n");
    for line in help.trim_end().lines() {
        let _ = writeln!(page, "{}", line.trim_end());
    }
    page.push_str("```\n");
    for child in commands(&help) {
        command(page, programs, program, &[path, &[child]].concat())?;
    }
    Ok(())
}

/// The commands that a help page lists.
fn commands(help: &str) -> Vec<&str> {
    let section = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let section = section.take_while(|line| line.is_empty() || line.starts_with(' '));
    // names are indented by two spaces, descriptions by more
    let named = section.filter_map(|line| line.strip_prefix("  "));
    let named = named.filter(|line| !line.starts_with(' '));
    named.filter_map(|line| line.split(' ').next()).filter(|name| *name != "help").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_the_names_of_their_section_without_help() {
        let help = "Does it\n\nUsage: x <COMMAND>\n\nCommands:\n  run   Runs\n          longer\n  \
                    watermark  Reads\n  help  Print this\n\nOptions:\n  -h, --help  Print help\n";
        assert_eq!(commands(help), ["run", "watermark"]);
        assert!(commands("Usage: x\n\nOptions:\n  -h  Print help\n").is_empty());
    }
}
