//! A small world outside: GitHub and one engine, legal in all they do, driven by a tape of choices.
//!
//! - `tape`: the choices;
//! - `outside`: what is true at GitHub and in the engine, and the rules that it keeps an eye on;
//! - `answers`: how calls act on it and what comes back, with lost answers and failures;
//! - `drive`: chaos, and the quiet after it;
//! - `hostile`: any outcome at all, legal or not.

mod answers;
pub mod drive;
pub mod hostile;
mod outside;
pub mod tape;
