//! Images of LXD, as its `lxc` program and those that copy it write them: `REMOTE:ALIAS`.

use std::collections::BTreeMap;

/// A server of images.
pub struct Remote {
    /// Its address.
    pub addr: String,
    /// Whether it is a plain list of files, and not another LXD.
    pub simplestreams: bool,
}

/// Servers that dayfly knows by these names (docs/lxd.md).
const KNOWN: [(&str, &str); 3] = [
    ("ubuntu", "https://cloud-images.ubuntu.com/releases"),
    ("ubuntu-daily", "https://cloud-images.ubuntu.com/daily"),
    ("images", "https://images.linuxcontainers.org"),
];

/// The image in dayfly's words, or why it has none.
pub fn image(image: &str, remotes: &BTreeMap<String, Remote>) -> Result<String, String> {
    let Some((name, alias)) = image.split_once(':') else { return Ok(image.to_owned()) };
    let Some(remote) = remotes.get(name) else {
        return Err(format!("image `{image}`: no remote `{name}` is defined"));
    };
    let addr = remote.addr.trim_end_matches('/');
    if !addr.starts_with("https://") {
        return Err(format!("image `{image}`: the server `{addr}` is not asked by https"));
    }
    if !remote.simplestreams {
        return Ok(format!("lxd+{addr}#{alias}"));
    }
    Ok(match KNOWN.iter().find(|(_, known)| *known == addr) {
        Some((known, _)) => format!("{known}:{alias}"),
        None => format!("{addr}#{alias}"),
    })
}
