//! The second model: the operator's own `decide` on objects, Jobs and pods that are the model's, with
//! processes that go through the product's `step` in coarse strides.

mod apply;
mod cluster;
mod model;
mod observe;
mod people;
mod processes;
pub mod mistakes;
pub mod cases;

pub use cluster::{Cluster, Luck};
pub use model::{Action, Operator, Scene};
