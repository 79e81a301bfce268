//! The secrets that a configuration refers to, read once.

use std::{collections::BTreeMap, path::Path};

use dayfly_config::{Auth, Config, ProcessEnvironment, SecretError, SecretRef, default_token};
use dayfly_core::model::ScopeName;
use dayfly_github::Credential;

use crate::{
    arguments::Configured,
    failure::{Code, Failure},
};

/// The credential of each scope.
///
/// # Errors
/// Where a secret can't be read, or a scope has none.
pub fn credentials(
    config: &Config,
    options: &Configured,
) -> Result<BTreeMap<ScopeName, Credential>, Failure> {
    config
        .scopes
        .iter()
        .map(|(name, scope)| Ok((name.clone(), credential(name, scope.auth.as_ref(), options)?)))
        .collect()
}

/// The credential of one scope.
pub fn credential(
    name: &ScopeName,
    auth: Option<&Auth>,
    options: &Configured,
) -> Result<Credential, Failure> {
    let environment = &ProcessEnvironment;
    match auth {
        Some(Auth::Token(reference)) => {
            reference.resolve(environment).map(Credential::Token).map_err(unreadable)
        }
        Some(Auth::App(app)) => Ok(Credential::App {
            client_id: app.client_id.clone(),
            private_key: app.private_key.resolve(environment).map_err(unreadable)?,
            installation_id: app.installation_id,
        }),
        None => {
            let given = options.token.as_deref().map(given).transpose()?;
            let given = given
                .map(|reference| reference.resolve(environment))
                .transpose()
                .map_err(unreadable)?;
            let token = default_token(given, environment).map_err(unreadable)?;
            token.map(Credential::Token).ok_or_else(|| {
                Failure::new(Code::Credential, format!("scope {name} has no credential"))
                    .hint("give it `auth` in the configuration, or a token by --token file:PATH or $GITHUB_TOKEN")
            })
        }
    }
}

/// Reads `--token`. A token itself is refused, and not repeated.
fn given(text: &str) -> Result<SecretRef, Failure> {
    SecretRef::parse(text, Path::new("")).ok_or_else(|| {
        Failure::new(Code::Usage, "--token takes a reference, not a token: every user of this machine can read arguments")
            .hint("write the token into a file of mode 0600 and give file:PATH, or give env:NAME or credential:NAME")
    })
}

/// As the user reads it.
pub fn unreadable(error: SecretError) -> Failure {
    Failure::new(Code::Credential, format!("secret {}: {}", error.reference, error.problem))
        .hint(error.remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_on_the_command_line_is_refused_and_not_repeated() {
        let failure = given("ghp_0123456789abcdef0123456789abcdef0123").unwrap_err();
        assert_eq!(failure.code(), Code::Usage);
        assert!(!failure.to_string().contains("0123456789"), "{failure}");
        assert!(given("file:/run/token").is_ok());
        assert!(given("env:TOKEN").is_ok());
    }
}
