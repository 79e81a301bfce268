//! The model, the planner, its report and the ports.
//!
//! This crate decides; it never acts. In [`model`], [`world`], [`plan`] and [`report`] there is no I/O, no clock,
//! no randomness, no async and no unordered map: the same input gives the same output, on every machine, for ever.
//! [`ports`] only declares the traits through which the rest of dayfly reaches GitHub, the engines and the disk.
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "tests fail by panicking"))]

pub mod effect;
pub mod model;
pub mod plan;
pub mod planted;
pub mod ports;
pub mod rebuild;
pub mod report;
pub mod route;
pub mod world;
