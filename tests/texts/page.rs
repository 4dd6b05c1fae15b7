//! The page, from its parts.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;

use crate::source::{Report, Texts};
use crate::{help, notes, schema, source};

const HEAD: &str = "\
# Texts

Every text that a user can read, on one page, so that a change of a text shows up in a diff. This page is printed by
a program. After a change, run `make texts`.

- [Reasons](#reasons): messages and remedies of conditions, events, exit reports and `error:` lines.
- [Other messages](#other-messages): usage errors, causes, warnings and results that have no reason of their own.
- [Log lines](#log-lines)
- [Fields of an ExtractJob](#fields-of-an-extractjob): what `kubectl explain` shows.
- [Rules of an ExtractJob](#rules-of-an-extractjob): messages of the API server.
- [Notes of the charts](#notes-of-the-charts)
- [Help pages](#help-pages)

`{name}` is replaced by a value. If a text has variants, they are separated by ` | `. Errors of the database are listed in
[database-errors.md](database-errors.md).
";

/// The whole page. `programs` is the folder of the built programs.
pub(crate) fn page(root: &Path, programs: &Path) -> Result<String> {
    let texts = source::collect(root)?;
    let mut page = HEAD.to_owned();
    reasons(&mut page, &texts, root)?;
    others(&mut page, &texts);
    logs(&mut page, &texts);
    schema::write(&mut page, root)?;
    notes::write(&mut page, root)?;
    help::write(&mut page, programs)?;
    Ok(page)
}

fn reasons(page: &mut String, texts: &Texts, root: &Path) -> Result<()> {
    page.push_str(
        "\n## Reasons\n\nThe first line of a text is the message, the indented line is the remedy.\n",
    );
    for (reason, meaning) in source::meanings(root)? {
        let _ = write!(page, "\n### {reason}\n\n{meaning}\n");
        let reports: BTreeSet<&Report> =
            texts.reports.iter().filter(|report| report.reason == reason).collect();
        if reports.is_empty() {
            continue;
        }
        page.push_str("\n```text\n");
        for report in reports {
            for (index, line) in report.lines.iter().enumerate() {
                let indent = if index == 0 { "" } else { "    " };
                let _ = writeln!(page, "{indent}{}", line.replace('\n', "\\n"));
            }
        }
        page.push_str("```\n");
    }
    Ok(())
}

fn others(page: &mut String, texts: &Texts) {
    page.push_str("\n## Other messages\n");
    let reported: BTreeSet<&String> =
        texts.reports.iter().flat_map(|report| &report.literals).collect();
    for (package, others) in &texts.others {
        let left: Vec<_> = others.iter().filter(|text| !reported.contains(text)).collect();
        let _ = write!(page, "\n### {package}\n\n```text\n");
        for text in left {
            let _ = writeln!(page, "{}", text.replace('\n', "\\n"));
        }
        page.push_str("```\n");
    }
}

fn logs(page: &mut String, texts: &Texts) {
    page.push_str("\n## Log lines\n");
    for (package, logs) in &texts.logs {
        let _ = write!(page, "\n### Log of {package}\n\n```text\n");
        for (level, text) in logs {
            let _ = writeln!(page, "{level}: {text}");
        }
        page.push_str("```\n");
    }
}
