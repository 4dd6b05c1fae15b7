//! Every reason that people may see is explained.

use crds::{ConditionReason, Reason};

#[test]
fn docs_explain_every_reason() {
    let page = include_str!("../../docs/failures.md");
    let own = ConditionReason::ALL.iter().map(|reason| reason.name());
    for reason in Reason::ALL.iter().map(|reason| reason.name()).chain(own) {
        let row = format!("| `{reason}` | ");
        assert!(page.contains(&row), "docs/failures.md has no row for {reason}");
    }
}
