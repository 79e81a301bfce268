//! One scope of GitHub with one credential: what the parts of the client share.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, OnceLock},
};

use dayfly_core::{
    model::ScaleSetId,
    ports::{Clock, Transport},
};
use http::HeaderValue;

use crate::{
    address::Address,
    admin::AdminConnection,
    app::InstallationToken,
    catch_up::Memory,
    credential::{Credential, InvalidCredential, Signer},
    queue::Queue,
    renewable::Renewable,
    wire::Wire,
};

/// One scope of GitHub, seen with one credential. Implements [`dayfly_core::ports::Forge`].
pub struct GitHub {
    pub(crate) shared: Arc<Shared>,
}

/// What all calls share. No lock here is ever held across a call.
pub(crate) struct Shared {
    pub address: Address,
    /// The scope in words, for errors.
    pub scope: String,
    pub signer: Signer,
    pub wire: Wire,
    pub installation: Renewable<InstallationToken>,
    pub admin: Renewable<AdminConnection>,
    pub queues: Mutex<BTreeMap<ScaleSetId, Arc<Queue>>>,
    /// Who opens the sessions, as GitHub shows it.
    pub owner: String,
    /// The public address of our webhook, where there is one.
    pub webhook: OnceLock<String>,
    /// Set where it is the App's own.
    pub app_webhook: OnceLock<()>,
    /// Lists read before.
    pub memory: Memory,
}

/// GitHub shows a session's owner to people; longer names help nobody.
const OWNER_MAX: usize = 100;

impl GitHub {
    /// Makes the client; nothing is sent yet.
    ///
    /// `owner` is shown by GitHub as the owner of the message sessions: the host's name or the controller's id.
    ///
    /// # Errors
    /// Where the credential can't work for this scope, whatever GitHub says.
    pub fn new(
        address: Address,
        credential: &Credential,
        transport: Arc<dyn Transport>,
        clock: Arc<dyn Clock>,
        owner: &str,
    ) -> Result<Self, InvalidCredential> {
        let signer = Signer::new(credential, &address)?;
        let scope = address.words();
        let shared = Shared {
            address,
            scope,
            signer,
            wire: Wire::new(transport, clock),
            installation: Renewable::default(),
            admin: Renewable::default(),
            queues: Mutex::default(),
            webhook: OnceLock::new(),
            app_webhook: OnceLock::new(),
            memory: Memory::default(),
            owner: owner.chars().filter(|char| !char.is_control()).take(OWNER_MAX).collect(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Tells the client at which address GitHub's webhooks reach us, so that it can look after those that lead there.
    #[must_use]
    pub fn with_webhook(self, url: &str) -> Self {
        // Said a second time, it changes nothing.
        let _ = self.shared.webhook.set(url.to_owned());
        self
    }

    /// Tells the client that webhooks come from the GitHub App that it signs in as, and from no hook of the scope.
    #[must_use]
    pub fn with_app_webhook(self) -> Self {
        let _ = self.shared.app_webhook.set(());
        self
    }

    /// The scope's address.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.shared.address
    }
}

impl fmt::Debug for GitHub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GitHub")
            .field("address", &self.shared.address.config_url())
            .finish_non_exhaustive()
    }
}

/// The `User-Agent` (protocol.md, 1.5): a product token, then the attribution that GitHub's own client sends.
pub(crate) fn user_agent(set: Option<ScaleSetId>) -> HeaderValue {
    macro_rules! with {
        ($rest:literal) => {
            concat!(
                "dayfly/",
                env!("CARGO_PKG_VERSION"),
                r#" {"system":"dayfly","version":""#,
                env!("CARGO_PKG_VERSION"),
                r#"","kind":"scaleset""#,
                $rest
            )
        };
    }
    match set {
        Some(set) => {
            let id = set.to_string();
            HeaderValue::try_from([with!(r#","scale_set_id":"#), &id, "}"].concat())
                .unwrap_or(HeaderValue::from_static(with!("}")))
        }
        None => HeaderValue::from_static(with!("}")),
    }
}
