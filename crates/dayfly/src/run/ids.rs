//! New names and ids, from the system's randomness.

use anyhow::{Context, Result};
use dayfly_core::{
    model::{ControllerId, Suffix},
    ports::Ids,
};

/// An id for a store that is made now.
pub fn new_controller() -> Result<ControllerId> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).context("ask the system for randomness")?;
    Ok(ControllerId(uuid::Builder::from_random_bytes(bytes).into_uuid()))
}

/// Suffixes of runners' names: a random beginning, then `SplitMix64`, which repeats nothing for 2^64 steps.
#[derive(Debug)]
pub struct RandomIds(u64);

impl RandomIds {
    /// Begins anywhere.
    pub fn begin() -> Result<Self> {
        Ok(Self(getrandom::u64().context("ask the system for randomness")?))
    }
}

impl Ids for RandomIds {
    fn suffix(&mut self) -> Suffix {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Suffix::from_bits(mixed ^ (mixed >> 31))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffixes_do_not_repeat() {
        let mut ids = RandomIds::begin().unwrap();
        let suffixes: std::collections::BTreeSet<String> =
            (0..10_000).map(|_| format!("{:?}", ids.suffix())).collect();
        assert_eq!(suffixes.len(), 10_000);
        assert_ne!(new_controller().unwrap(), new_controller().unwrap());
    }
}
