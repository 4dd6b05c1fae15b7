//! Mistakes in rules that the product does not have yet.

/// A mistake that cannot be planted yet.
#[derive(Debug, Clone, Copy)]
pub struct Pending {
    /// What would be done wrong.
    pub name: &'static str,
    /// Where it was named first.
    pub source: &'static str,
    /// What it waits for.
    pub waits_for: &'static str,
}

const SWEEPER: &str = "the sweeper";
const FORCE: &str = "settle --force and the state reverting";

/// All of them.
pub const fn pending() -> [Pending; 12] {
    const fn one(name: &'static str, source: &'static str, waits_for: &'static str) -> Pending {
        Pending { name, source, waits_for }
    }
    [
        one("sweep by head only", "8.7", SWEEPER),
        one("sweep by pointer only (GcByPointer)", "8.4, 8.7", SWEEPER),
        one("sweep reads before it lists", "8.7", SWEEPER),
        one("sweep without R", "8.7", SWEEPER),
        one("force without a state", "8.7", FORCE),
        one("force deletes before aborting", "8.7", FORCE),
        one("force cleans before the condition", "8.7", FORCE),
        one("fenced, so it must be Y", "8.7", FORCE),
        one(
            "removal by head only where claimants skip it",
            "8.7",
            "retainReplaced: today no claim leaves a removal behind",
        ),
        one("suspend spends a retry", "8.8", "spec.suspend"),
        one("watermark set keeps an owed window", "new", "watermark set and rewind"),
        one("watermark set while a run is live", "new", "watermark set and rewind"),
    ]
}
