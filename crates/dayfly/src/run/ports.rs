//! The adapters that a configuration names, built. Nothing is asked of anybody yet.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use dayfly_backends::{docker, lxd, noop, process};
use dayfly_config::{
    Auth, BackendConfig, Config, DockerConfig, LxdConfig, LxdServerConfig, ProcessEnvironment,
    ScopeConfig,
};
use dayfly_core::{
    model::{BackendName, ControllerId, ScopeName},
    ports::{Backend, Clock, Transport},
};
use dayfly_engine::SteadyClock;
use dayfly_github::{Address, Credential, GitHub, HttpTransport};

use crate::failure::{Code, Failure};

/// A client of GitHub for each scope, which knows where our webhooks lead.
pub fn forges(
    config: &Config,
    credentials: &BTreeMap<ScopeName, Credential>,
    controller: ControllerId,
    clock: &Arc<SteadyClock>,
) -> Result<BTreeMap<ScopeName, Arc<GitHub>>, Failure> {
    let webhook = config.server.as_ref().and_then(|server| server.webhook.as_ref());
    let url = webhook.and_then(|webhook| webhook.url.as_deref());
    let made = config.scopes.iter().filter_map(|(name, scope)| {
        let credential = credentials.get(name)?;
        let forge = forge(name, scope, credential, controller, Arc::clone(clock) as Arc<dyn Clock>);
        let forge = forge.map(|forge| match url {
            Some(url) => forge.with_webhook(url),
            None => forge,
        });
        Some(forge.map(|forge| (name.clone(), Arc::new(forge))))
    });
    made.collect()
}

/// The client of GitHub for one scope.
pub fn forge(
    name: &ScopeName,
    scope: &ScopeConfig,
    credential: &Credential,
    controller: ControllerId,
    clock: Arc<dyn Clock>,
) -> Result<GitHub, Failure> {
    let address = Address::parse(&scope.url).map_err(|error| Failure::new(Code::Config, error))?;
    let transport = HttpTransport::new(None).map_err(|error| Failure::new(Code::Failed, error))?;
    let transport: Arc<dyn Transport> = Arc::new(transport);
    let forge = GitHub::new(address, credential, transport, clock, &controller.to_string());
    let forge = forge.map_err(|error| {
        Failure::new(
            Code::Credential,
            format!("the credential of scope {name} can't be used: {error}"),
        )
    })?;
    let of_app = matches!(&scope.auth, Some(Auth::App(app)) if app.webhook);
    Ok(if of_app { forge.with_app_webhook() } else { forge })
}

/// Every backend.
pub fn backends(
    config: &Config,
    controller: ControllerId,
) -> Result<BTreeMap<BackendName, Arc<dyn Backend>>, Failure> {
    let made = config.backends.iter().map(|(name, backend)| {
        Ok((name.clone(), self::backend(name, backend, config, controller)?))
    });
    made.collect()
}

/// One backend.
pub fn backend(
    name: &BackendName,
    backend: &BackendConfig,
    config: &Config,
    controller: ControllerId,
) -> Result<Arc<dyn Backend>, Failure> {
    let refused = |error: dayfly_core::ports::BackendError| {
        Failure::new(Code::Backend, format!("backend {name} can't be used: {error}"))
    };
    Ok(match backend {
        BackendConfig::Docker(settings) => {
            Arc::new(docker::Docker::connect(&docker(settings), controller).map_err(refused)?)
        }
        BackendConfig::Lxd(settings) => {
            Arc::new(lxd::Lxd::connect(&lxd(name, settings)?, controller).map_err(refused)?)
        }
        BackendConfig::Process { directory } => {
            let options = process(directory.as_deref(), config, name);
            Arc::new(process::Process::new(&options, controller).map_err(refused)?)
        }
        BackendConfig::Noop { socket } => Arc::new(noop::Noop::connect(socket, controller)),
    })
}

/// Every controller that has instances on a backend, and how many.
pub async fn controllers(
    name: &BackendName,
    backend: &BackendConfig,
    config: &Config,
) -> Result<BTreeMap<ControllerId, usize>, Failure> {
    // Whoever asks: the answer is of all.
    let nobody = ControllerId(uuid::Uuid::nil());
    let found = match backend {
        BackendConfig::Docker(settings) => {
            match docker::Docker::connect(&docker(settings), nobody) {
                Ok(engine) => engine.controllers().await,
                Err(error) => Err(error),
            }
        }
        BackendConfig::Lxd(settings) => match lxd::Lxd::connect(&lxd(name, settings)?, nobody) {
            Ok(server) => server.controllers().await,
            Err(error) => Err(error),
        },
        BackendConfig::Process { directory } => {
            process::Process::controllers(&process(directory.as_deref(), config, name))
        }
        BackendConfig::Noop { socket } => noop::Noop::connect(socket, nobody).controllers().await,
    };
    found.map_err(|error| {
        Failure::new(
            Code::Backend,
            format!("backend {name} can't be asked whose instances it has: {error}"),
        )
    })
}

fn docker(settings: &DockerConfig) -> docker::DockerOptions {
    docker::DockerOptions {
        host: settings.host.clone(),
        context: settings.context.clone(),
        config_directory: None,
        tls: settings.tls.as_ref().map(|files| docker::TlsFiles {
            ca: files.ca.clone(),
            certificate: files.certificate.clone(),
            key: files.key.clone(),
        }),
    }
}

/// Reads the certificates and the key that a server's settings name.
fn lxd(name: &BackendName, settings: &LxdConfig) -> Result<lxd::LxdOptions, Failure> {
    let mut options = lxd_untrusted(name, settings)?;
    if let (
        lxd::LxdServer::Remote(remote),
        LxdServerConfig::Remote { server_certificate: Some(path), .. },
    ) = (&mut options.server, &settings.server)
    {
        remote.server_certificate = Some(read(name, path)?);
    }
    Ok(options)
}

/// The same without the server's own certificate, which is not known before the server trusts ours.
pub fn lxd_untrusted(name: &BackendName, settings: &LxdConfig) -> Result<lxd::LxdOptions, Failure> {
    let server = match &settings.server {
        LxdServerConfig::Found => lxd::LxdServer::Found,
        LxdServerConfig::Socket(path) => lxd::LxdServer::Socket(path.clone()),
        LxdServerConfig::Remote { url, client_certificate, client_key, server_certificate: _ } => {
            lxd::LxdServer::Remote(lxd::LxdRemote {
                url: url.clone(),
                client_certificate: read(name, client_certificate)?,
                client_key: client_key
                    .resolve(&ProcessEnvironment)
                    .map_err(|error| Failure::new(Code::Credential, error))?,
                server_certificate: None,
            })
        }
    };
    let product = if settings.is_incus { lxd::Product::Incus } else { lxd::Product::Lxd };
    Ok(lxd::LxdOptions {
        product,
        server,
        project: settings.project.clone(),
        target: settings.target.clone(),
    })
}

fn read(name: &BackendName, path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|error| {
        let message = format!("backend {name} can't be used: {}: {error}", path.display());
        Failure::new(Code::Backend, message)
    })
}

fn process(
    directory: Option<&Path>,
    config: &Config,
    name: &BackendName,
) -> process::ProcessOptions {
    let directory = directory.map_or_else(|| beside_the_store(config, name), Path::to_owned);
    process::ProcessOptions { directory }
}

/// Process instances live where their store lives, unless the configuration says otherwise.
fn beside_the_store(config: &Config, name: &BackendName) -> PathBuf {
    config.store.with_extension("").join(name.as_str())
}
