//! The runner's RSA key, from the components of `.credentials_rsaparams`, and its signature (RS256).

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use num_bigint::BigUint;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::jit::{JitError, text};

/// Order of the integers in a PKCS #1 `RSAPrivateKey` after its version (RFC 8017, A.1.2).
const COMPONENTS: [&str; 8] = ["modulus", "exponent", "d", "p", "q", "dp", "dq", "inverseQ"];

/// Longest component: a key of 8192 bits. Longer ones would only take time.
const PART_BYTES_MAX: usize = 1024 + 1;

/// DER of a SHA-256 `DigestInfo` up to the digest (RFC 8017, 9.2, note 1).
const SHA256_INFO: [u8; 19] = [
    0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05,
    0x00, 0x04, 0x20,
];

/// How a key will be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    /// For one signature in the life of the process: plain arithmetic. The cryptographic library gathers entropy before its first
    /// signature, which takes it longer (50 to 100 ms were measured) than all the rest from the process's start to the first step. It is not hardened against timing, and need not be: the
    /// simulation's keys are public.
    Once,
    /// For many signatures, each a fraction of the plain one's time.
    Often,
}

/// A private key.
pub(crate) enum Key {
    Plain { size: usize, p: BigUint, q: BigUint, dp: BigUint, dq: BigUint, inverse: BigUint },
    Library(EncodingKey),
}

impl Key {
    /// Reads the key.
    pub fn read(params: &Value, used: Use) -> Result<Self, JitError> {
        let wrong = |member| JitError::Member { file: ".credentials_rsaparams", member };
        let mut parts: Vec<Vec<u8>> = Vec::with_capacity(COMPONENTS.len());
        for name in COMPONENTS {
            let bytes = text(params, name).and_then(|text| STANDARD.decode(text).ok());
            parts.push(
                bytes
                    .filter(|bytes| {
                        bytes.len() <= PART_BYTES_MAX && bytes.iter().any(|byte| *byte != 0)
                    })
                    .ok_or_else(|| wrong(name))?,
            );
        }
        if used == Use::Often {
            let mut body = integer(&[0]);
            parts.iter().for_each(|part| body.extend(integer(part)));
            return Ok(Self::Library(EncodingKey::from_rsa_der(&element(0x30, &body))));
        }
        let size = BigUint::from_bytes_be(&parts[0]).bits().div_ceil(8);
        let size = usize::try_from(size)
            .ok()
            .filter(|size| (128..=1024).contains(size))
            .ok_or_else(|| wrong("modulus"))?;
        let [p, q, dp, dq, inverse] =
            [3, 4, 5, 6, 7].map(|index| BigUint::from_bytes_be(&parts[index]));
        Ok(Self::Plain { size, p, q, dp, dq, inverse })
    }

    /// A JWT with these claims.
    pub fn sign(&self, claims: &Value) -> Result<String, jsonwebtoken::errors::Error> {
        match self {
            Self::Library(key) => jsonwebtoken::encode(&Header::new(Algorithm::RS256), claims, key),
            Self::Plain { size, p, q, dp, dq, inverse } => {
                let head = URL_SAFE_NO_PAD.encode(r#"{"alg":"RS256","typ":"JWT"}"#);
                let signed = format!("{head}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
                let message = BigUint::from_bytes_be(&padded(*size, &Sha256::digest(&signed)));
                // The Chinese remainder theorem (RFC 8017, 5.2.1) makes it four times as fast.
                let (first, second) = (message.modpow(dp, p), message.modpow(dq, q));
                let half = (inverse * ((first + p) - (&second % p))) % p;
                let signature = (second + half * q).to_bytes_be();
                let leading = vec![0; size.saturating_sub(signature.len())];
                Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode([leading, signature].concat())))
            }
        }
    }
}

/// EMSA-PKCS1-v1_5 (RFC 8017, 9.2) for a modulus of this many bytes.
fn padded(size: usize, digest: &[u8]) -> Vec<u8> {
    let filling = size.saturating_sub(3 + SHA256_INFO.len() + digest.len());
    [&[0x00, 0x01][..], &vec![0xff; filling], &[0x00], &SHA256_INFO, digest].concat()
}

/// A DER INTEGER that is not negative.
fn integer(bytes: &[u8]) -> Vec<u8> {
    let start = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len() - 1);
    let mut content = Vec::with_capacity(bytes.len() + 1);
    if bytes[start] & 0x80 != 0 {
        content.push(0);
    }
    content.extend_from_slice(&bytes[start..]);
    element(0x02, &content)
}

fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    let length = content.len().to_be_bytes();
    let significant =
        &length[length.iter().position(|byte| *byte != 0).unwrap_or(length.len() - 1)..];
    if content.len() >= 0x80 {
        // A usize has at most 8 bytes, so this fits the tag's low bits.
        out.push(0x80 | u8::try_from(significant.len()).unwrap_or(8));
    }
    out.extend_from_slice(significant);
    out.extend_from_slice(content);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_sign_alike() {
        for index in 0..4 {
            let path = format!(
                "{}/../github-sim/src/keys/runner-{index}.json",
                env!("CARGO_MANIFEST_DIR")
            );
            let params: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
            let claims = serde_json::json!({ "aud": "x", "exp": index });
            let sign = |used| Key::read(&params, used).unwrap().sign(&claims).unwrap();
            let (plain, library) = (sign(Use::Once), sign(Use::Often));
            let parts = |jwt: &str| jwt.split('.').map(str::to_owned).collect::<Vec<_>>();
            let head = |jwt: &str| -> Value {
                serde_json::from_slice(&URL_SAFE_NO_PAD.decode(&parts(jwt)[0]).unwrap()).unwrap()
            };
            assert_eq!(head(&plain)["alg"], head(&library)["alg"]);
            assert_eq!(parts(&plain)[1], parts(&library)[1]);
            let key = jsonwebtoken::DecodingKey::from_rsa_raw_components(
                &STANDARD.decode(params["modulus"].as_str().unwrap()).unwrap(),
                &STANDARD.decode(params["exponent"].as_str().unwrap()).unwrap(),
            );
            let mut validation = jsonwebtoken::Validation::new(Algorithm::RS256);
            validation.validate_exp = false;
            validation.validate_aud = false;
            let read = jsonwebtoken::decode::<Value>(&plain, &key, &validation).unwrap();
            assert_eq!(read.claims, claims);
        }
    }

    #[test]
    fn odd_components_are_refused() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../github-sim/src/keys/runner-0.json");
        let good: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        for (member, value) in [("p", "AAAA"), ("modulus", "AQ=="), ("dq", "!"), ("exponent", "")] {
            let mut params = good.clone();
            params[member] = value.into();
            assert!(Key::read(&params, Use::Once).is_err(), "{member}");
        }
    }
}
