//! The runner's RSA key, from the components of `.credentials_rsaparams`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::EncodingKey;
use serde_json::Value;

use crate::jit::{JitError, text};

/// Order of the integers in a PKCS #1 `RSAPrivateKey` after its version (RFC 8017, A.1.2).
const COMPONENTS: [&str; 8] = ["modulus", "exponent", "d", "p", "q", "dp", "dq", "inverseQ"];

/// Reads the key.
pub(crate) fn read(params: &Value) -> Result<EncodingKey, JitError> {
    let mut body = integer(&[0]);
    for name in COMPONENTS {
        let bytes = text(params, name)
            .and_then(|text| STANDARD.decode(text).ok())
            .filter(|bytes| !bytes.is_empty())
            .ok_or(JitError::Member { file: ".credentials_rsaparams", member: name })?;
        body.extend(integer(&bytes));
    }
    Ok(EncodingKey::from_rsa_der(&element(0x30, &body)))
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
