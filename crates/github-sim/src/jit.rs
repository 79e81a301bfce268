//! Just-in-time configurations: the blob of three files that makes a program a runner.

use std::sync::OnceLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::DecodingKey;
use serde_json::{Value, json};

use crate::route::{BROKER_PATH, TOKEN_PATH};
use crate::runner::Runner;

/// Key pairs of runners, reused. Public, see `keys/README.md`.
const KEYS: [&str; 4] = [
    include_str!("keys/runner-0.json"),
    include_str!("keys/runner-1.json"),
    include_str!("keys/runner-2.json"),
    include_str!("keys/runner-3.json"),
];

/// Which key pair a runner gets.
pub(crate) fn key_of(runner: &Runner) -> usize {
    usize::try_from(runner.id.0.rem_euclid(KEYS.len() as i64)).unwrap_or(0)
}

/// The public half of a runner's key pair; `None` only if the embedded files were broken.
pub(crate) fn public_key(index: usize) -> Option<&'static DecodingKey> {
    static PUBLIC: OnceLock<Vec<DecodingKey>> = OnceLock::new();
    let keys = PUBLIC.get_or_init(|| {
        KEYS.iter()
            .filter_map(|text| {
                let key: Value = serde_json::from_str(text).ok()?;
                let part = |name: &str| STANDARD.decode(key[name].as_str()?).ok();
                Some(DecodingKey::from_rsa_raw_components(&part("modulus")?, &part("exponent")?))
            })
            .collect()
    });
    keys.get(index)
}

/// The blob for a runner. `base` is where it finds the broker.
pub(crate) fn encode(runner: &Runner, base: &str) -> String {
    let settings = json!({
        "AgentId": runner.id.to_string(),
        "AgentName": runner.name,
        "PoolId": runner.group.to_string(),
        "PoolName": "Default",
        "DisableUpdate": "true",
        "Ephemeral": "true",
        "ServerUrl": format!("{base}{BROKER_PATH}/"),
        "ServerUrlV2": format!("{base}{BROKER_PATH}/"),
        "WorkFolder": runner.work_folder,
        "UseV2Flow": "true",
    });
    let credentials = json!({
        "scheme": "OAuth",
        "data": {
            "clientId": runner.client_id,
            "authorizationUrl": format!("{base}{TOKEN_PATH}"),
            "authorizationUrlV2": format!("{base}{TOKEN_PATH}"),
            "requireFipsCryptography": "true",
        },
    });
    // The same few files over and over: encoded once.
    static KEY_FILES: OnceLock<[String; KEYS.len()]> = OnceLock::new();
    let keys = KEY_FILES.get_or_init(|| KEYS.map(|key| STANDARD.encode(key)));
    let files = json!({
        ".runner": STANDARD.encode(settings.to_string()),
        ".credentials": STANDARD.encode(credentials.to_string()),
        ".credentials_rsaparams": keys[key_of(runner)],
    });
    STANDARD.encode(files.to_string())
}
