//! In: `states.txt`. Out: how many states each exploration has, so that a model that came to see
//! fewer of them, and so to prove less, fails. Bound: one line each. Fails: never.

/// The file: a number and a name on each line.
pub const FILE: &str = include_str!("../states.txt");

/// How many states an exploration had when its number was last written down; 0: never.
pub fn written(name: &str) -> usize {
    FILE.lines()
        .filter_map(|line| line.split_once(' '))
        .find(|(_, known)| *known == name)
        .and_then(|(count, _)| count.parse().ok())
        .unwrap_or(0)
}
