//! Just-in-time configurations: the blob of three files that makes a program a runner.

use std::sync::OnceLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::DecodingKey;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

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

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Settings<'a> {
    agent_id: String,
    agent_name: &'a str,
    pool_id: String,
    pool_name: &'static str,
    disable_update: &'static str,
    ephemeral: &'static str,
    server_url: &'a str,
    server_url_v2: &'a str,
    work_folder: &'a str,
    use_v2_flow: &'static str,
}

#[derive(Serialize)]
struct Credentials<'a> {
    scheme: &'static str,
    data: CredentialData<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CredentialData<'a> {
    client_id: Uuid,
    authorization_url: &'a str,
    authorization_url_v2: &'a str,
    require_fips_cryptography: &'static str,
}

/// The blob for a runner. `base` is where it finds the broker.
pub(crate) fn encode(runner: &Runner, base: &str) -> String {
    let (server, token) = (format!("{base}{BROKER_PATH}/"), format!("{base}{TOKEN_PATH}"));
    let settings = Settings {
        agent_id: runner.id.to_string(),
        agent_name: &runner.name,
        pool_id: runner.group.to_string(),
        pool_name: "Default",
        disable_update: "true",
        ephemeral: "true",
        server_url: &server,
        server_url_v2: &server,
        work_folder: &runner.work_folder,
        use_v2_flow: "true",
    };
    let credentials = Credentials {
        scheme: "OAuth",
        data: CredentialData {
            client_id: runner.client_id,
            authorization_url: &token,
            authorization_url_v2: &token,
            require_fips_cryptography: "true",
        },
    };
    // Structs with text in them always serialise.
    let settings = STANDARD.encode(serde_json::to_vec(&settings).unwrap_or_default());
    let credentials = STANDARD.encode(serde_json::to_vec(&credentials).unwrap_or_default());
    let mut blob = key_file(key_of(runner)).to_owned();
    let others = format!(r#"".credentials":"{credentials}",".runner":"{settings}"}}"#);
    STANDARD.encode_string(others, &mut blob);
    blob
}

/// The beginning of every blob with this key pair: most of it, and the same over and over. Blanks bring it to whole groups
/// of three bytes, so that what follows can be encoded by itself.
fn key_file(index: usize) -> &'static str {
    static KEY_FILES: OnceLock<[String; KEYS.len()]> = OnceLock::new();
    let files = KEY_FILES.get_or_init(|| {
        KEYS.map(|key| {
            let file = format!(r#"{{".credentials_rsaparams":"{}","#, STANDARD.encode(key));
            let whole = file.len().next_multiple_of(3);
            STANDARD.encode(format!("{file:whole$}"))
        })
    });
    files.get(index).map_or("", String::as_str)
}
