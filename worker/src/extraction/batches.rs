//! In: the container. Out: the [`MemoryBudget`] that cuts batches. Bound: one small file. Fails:
//! nothing, a container without a limit gets the default.

use std::fs;

use worker_core::encoding::batches::MemoryBudget;

/// Where the kernel says how much memory this container may use: version 2, then version 1.
const LIMIT_FILES: [&str; 2] =
    ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];

/// Version 1 writes a number near 2^63 for "no limit".
const LIMIT_BYTES_MAX: u64 = 1 << 50;

/// The budget that the container's limit leaves.
pub fn budget_from_cgroup() -> MemoryBudget {
    let limit = LIMIT_FILES.iter().find_map(|path| limit_of(&fs::read_to_string(path).ok()?));
    MemoryBudget::new(limit)
}

fn limit_of(text: &str) -> Option<u64> {
    text.trim().parse().ok().filter(|limit| *limit < LIMIT_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::limit_of;

    #[test]
    fn both_versions_of_no_limit_are_none() {
        assert_eq!(limit_of("134217728\n"), Some(128 << 20));
        assert_eq!(limit_of("max\n"), None);
        assert_eq!(limit_of("9223372036854771712\n"), None);
    }
}
