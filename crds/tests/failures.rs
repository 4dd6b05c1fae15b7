//! Every reason that people may see is explained.

use crds::Reason;

#[test]
fn docs_explain_every_reason() {
    let page = include_str!("../../docs/failures.md");
    for reason in Reason::ALL {
        let row = format!("| `{reason}` | ");
        assert!(page.contains(&row), "docs/failures.md has no row for {reason}");
    }
}
