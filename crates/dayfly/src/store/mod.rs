//! `dayfly store`: what is done with the store itself, beside a daemon or instead of one.

mod backup;
mod check;
mod rebuild;
mod world;

pub use self::{backup::back_up, check::check, rebuild::rebuild};
