//! The protocol, model-checked: the product's own `step` and `decide` on stores, pods, clocks and
//! crashes that are the model's.

mod alter;
mod asks;
mod bodies;
mod database;
mod pods;
mod pool;
mod process;
mod rules;
mod shop;
mod state;
mod stores;
mod sweeping;
mod person;
mod inputs;
pub mod bounded;
pub mod config;
pub mod counts;
pub mod cases;
pub mod explore;
pub mod mistakes;
pub mod operator;
pub mod protocol;

pub use alter::{Alter, Lie};
pub use process::How;
pub use rules::Rule;
pub use state::State;
