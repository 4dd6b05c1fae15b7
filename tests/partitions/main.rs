//! How tables are divided into partitions on real servers: for any key, every row is in one partition.

mod divided;
mod mysql;
mod postgres;
mod published;
mod skewed;
mod turns;
