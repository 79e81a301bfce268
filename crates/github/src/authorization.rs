//! The value of an `Authorization` header: made once per token, never printed.

use std::fmt;

use http::HeaderValue;
use secrecy::{ExposeSecret, SecretString};

/// A token with its scheme word, ready to be sent.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Authorization(HeaderValue);

impl Authorization {
    /// `Bearer TOKEN`; `None` where the token has characters that no header may hold.
    pub fn bearer(token: &SecretString) -> Option<Self> {
        Self::new("Bearer", token)
    }

    /// `RemoteAuth TOKEN`, which only the registration endpoint takes (protocol.md, 1.4).
    pub fn remote_auth(token: &SecretString) -> Option<Self> {
        Self::new("RemoteAuth", token)
    }

    fn new(scheme: &str, token: &SecretString) -> Option<Self> {
        let token = token.expose_secret();
        let plain = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
        let mut value =
            HeaderValue::from_str(&format!("{scheme} {token}")).ok().filter(|_| plain)?;
        value.set_sensitive(true);
        Some(Self(value))
    }

    /// The header's value.
    pub fn value(&self) -> &HeaderValue {
        &self.0
    }

    /// The token alone, so that it can be taken out of an answer that echoes it.
    pub fn token(&self) -> &str {
        self.0.to_str().ok().and_then(|value| value.split_once(' ')).map_or("", |(_, token)| token)
    }
}

impl fmt::Debug for Authorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authorization([hidden])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_prints_and_never_breaks_a_header() {
        let token = |text: &str| SecretString::from(text.to_owned());
        let good = Authorization::bearer(&token("ghp_abc")).unwrap();
        assert_eq!((good.value().to_str().unwrap(), good.token()), ("Bearer ghp_abc", "ghp_abc"));
        assert!(!format!("{good:?} {:?}", good.value()).contains("abc"));
        for bad in ["", "a b", "a\nb", "ä"] {
            assert!(Authorization::remote_auth(&token(bad)).is_none(), "{bad}");
        }
    }
}
