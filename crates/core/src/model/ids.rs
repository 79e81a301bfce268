//! Names and ids, each with a type of its own, so that none stands in for another.

use std::{borrow::Borrow, fmt, sync::Arc};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A name that breaks its rule. Says the rule, so that the user can mend it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} `{name}` is not valid: {rule}")]
pub struct InvalidName {
    /// What was named: "pool name", "runner name", ….
    pub kind: &'static str,
    /// The name as given, cut to 80 characters.
    pub name: String,
    /// The rule it breaks.
    pub rule: &'static str,
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $kind:literal, $rule:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String")]
        pub struct $type(Arc<str>);

        impl $type {
            /// Checks the rule of this kind of name.
            ///
            /// # Errors
            /// The rule, where `name` breaks it.
            pub fn new(name: impl AsRef<str>) -> Result<Self, InvalidName> {
                let name = name.as_ref();
                let valid: fn(&str) -> bool = $valid;
                if valid(name) {
                    Ok(Self(name.into()))
                } else {
                    Err(InvalidName { kind: $kind, name: name.chars().take(80).collect(), rule: $rule })
                }
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $type {
            type Error = InvalidName;
            fn try_from(name: String) -> Result<Self, InvalidName> {
                Self::new(name)
            }
        }

        impl Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

/// `[a-z][a-z0-9-]*[a-z0-9]`, at most `max` characters.
fn is_slug(name: &str, max: usize) -> bool {
    let bytes = name.as_bytes();
    let plain = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    bytes.len() >= 2
        && bytes.len() <= max
        && bytes.first().is_some_and(u8::is_ascii_lowercase)
        && bytes.last().is_some_and(plain)
        && bytes.iter().all(|b| plain(b) || *b == b'-')
}

fn is_base32(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_lowercase() || (b'2'..=b'7').contains(&b))
}

/// How many characters follow the pool's name in a runner's name: a dash, four of the controller, ten at random.
const RUNNER_TAIL: usize = 15;

name!(
    /// The name of a pool: 48 characters leave room for a runner's tail within the 63 of a host name.
    PoolName, "pool name", "a lower-case letter, then letters, digits and dashes, ending in a letter or digit; 2 to 48 characters",
    |name| is_slug(name, 48)
);
name!(
    /// The name under which the configuration knows a scope.
    ScopeName, "scope name", "a lower-case letter, then letters, digits and dashes, ending in a letter or digit; 2 to 63 characters",
    |name| is_slug(name, 63)
);
name!(
    /// The name under which the configuration knows a backend.
    BackendName, "backend name", "a lower-case letter, then letters, digits and dashes, ending in a letter or digit; 2 to 63 characters",
    |name| is_slug(name, 63)
);
name!(
    /// The name of a runner, of its instance and of its registration: `<pool>-<4 of the controller><10 at random>`.
    RunnerName, "runner name", "a pool name, a dash, and fourteen characters of base32",
    |name| {
        name.is_ascii()
            && name.len() > RUNNER_TAIL
            && is_slug(&name[..name.len() - RUNNER_TAIL], 48)
            && name.as_bytes()[name.len() - RUNNER_TAIL] == b'-'
            && is_base32(&name[name.len() - RUNNER_TAIL + 1..])
    }
);

impl RunnerName {
    /// Makes a runner's name from its parts.
    #[must_use]
    pub fn compose(pool: &PoolName, controller: ControllerId, suffix: Suffix) -> Self {
        let suffix = std::str::from_utf8(&suffix.0).unwrap_or("aaaaaaaaaa");
        Self(format!("{pool}-{}{suffix}", controller.tag()).into())
    }

    /// The pool that the runner belongs to.
    #[must_use]
    pub fn pool(&self) -> PoolName {
        PoolName(self.0[..self.0.len() - RUNNER_TAIL].into())
    }

    /// The pool's name as text, without an allocation.
    #[must_use]
    pub fn pool_str(&self) -> &str {
        &self.0[..self.0.len() - RUNNER_TAIL]
    }

    /// Whether the controller with this id gave the name.
    #[must_use]
    pub fn is_of(&self, controller: ControllerId) -> bool {
        self.0[self.0.len() - RUNNER_TAIL + 1..].starts_with(&controller.tag())
    }
}

/// Ten characters of base32 that tell apart the runners of one pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Suffix([u8; 10]);

impl Suffix {
    /// Spells 50 bits of `bits` (the low ones) in base32.
    #[must_use]
    pub fn from_bits(bits: u64) -> Self {
        Self(std::array::from_fn(|i| base32_digit((bits >> (5 * i)) & 31)))
    }
}

fn base32_digit(value: u64) -> u8 {
    let value = u8::try_from(value & 31).unwrap_or(0);
    if value < 26 { b'a' + value } else { b'2' + value - 26 }
}

/// Who made an instance: the id of a store, made with it and kept in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ControllerId(pub Uuid);

impl ControllerId {
    /// Four characters of base32 that stand for the controller in names.
    #[must_use]
    pub fn tag(self) -> String {
        let bits = self.0.as_u128();
        (0..4)
            .map(|i| char::from(base32_digit(u64::try_from((bits >> (5 * i)) & 31).unwrap_or(0))))
            .collect()
    }
}

impl fmt::Display for ControllerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

macro_rules! number {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $type(pub i64);

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number!(
    /// GitHub's id of a runner's registration.
    RegistrationId
);
number!(
    /// GitHub's id of a runner scale set.
    ScaleSetId
);
number!(
    /// GitHub's id of a runner group.
    RunnerGroupId
);
number!(
    /// The id of a message in a scale set's queue; it grows within the set.
    MessageId
);

/// An engine's own id of an instance (a container's id, a process's start mark, …).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct InstanceId(pub Arc<str>);

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// GitHub's id of a job as the scale set's messages give it: a UUID today, a number earlier.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobId(pub Arc<str>);

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// GitHub's id of a message session.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SessionId(pub Arc<str>);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_their_rules() {
        for good in ["ab", "linux-small", "a1", &"a".repeat(48)] {
            assert!(PoolName::new(good).is_ok(), "{good}");
        }
        for bad in ["", "a", "-a", "a-", "1a", "A-b", "a_b", "ä-b", &"a".repeat(49)] {
            assert!(PoolName::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_runner_name_tells_its_pool_and_controller() {
        let controller = ControllerId(Uuid::from_u128(0x1234_5678));
        let pool = PoolName::new("linux-small").unwrap();
        let name = RunnerName::compose(&pool, controller, Suffix::from_bits(u64::MAX));
        assert_eq!(RunnerName::new(name.as_str()).unwrap(), name);
        assert_eq!(name.pool(), pool);
        assert!(name.is_of(controller));
        assert!(!name.is_of(ControllerId(Uuid::from_u128(7))));
        assert!(RunnerName::new("linux-small-short").is_err());
        assert!(RunnerName::new("ä".repeat(20)).is_err());
    }
}
