//! GitHub's runner program: fetched once, checked, kept on this disk, looked after once a day. It is never run here.

mod archive;
mod cache;
mod keeper;
#[cfg(test)]
mod tests;

pub use keeper::Keeper;
