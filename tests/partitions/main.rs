//! How tables are cut into partitions on real servers: whatever the key, every row is in one partition.

mod divided;
mod mysql;
mod postgres;
mod published;
mod skewed;
mod turns;
