//! `dayfly demo`: the real daemon with real instances against a simulated GitHub, and nothing left of it.
//!
//! Two processes: the one that the user started guards the one that plays. Each clears up where the other is killed.

mod child;
mod daemon;
mod docker;
mod guard;
mod image;
mod place;
mod player;
mod screen;
mod simulator;
mod stage;
mod summary;

pub use guard::run;
