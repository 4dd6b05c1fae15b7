//! Decisions of planning: table, window, partitions, consistency.

pub mod table_name;
pub mod plan;
pub mod watermark;
pub mod window;
pub mod server;
pub mod consistency;
pub mod tables;
pub mod relations;
pub mod selection;
pub mod filtering;
pub mod types;
pub mod drift;
pub mod partitions;
pub mod partitioning;
pub mod implied;
pub mod fidelity;
pub mod virtual_columns;
