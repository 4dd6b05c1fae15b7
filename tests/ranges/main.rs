//! How tables are cut into ranges on real servers: whatever the key, every row is in one range.

mod divided;
mod mysql;
mod postgres;
mod published;
mod skewed;
mod turns;
