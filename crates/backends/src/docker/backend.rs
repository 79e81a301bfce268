//! The port's face of the Docker engine.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use bollard::Docker as Client;
use bytes::Bytes;
use dayfly_core::{
    model::{Capacity, ControllerId, InstanceId, InstanceSpec, PullPolicy, RunnerName},
    ports::{
        Backend, BackendError, BackendErrorKind, BoxFuture, Capabilities, CreateRequest, Created,
        Finding, HandOver, InstanceRecord, JitConfig, WatchSink,
    },
};

use super::{
    capacity, check,
    connection::Connection,
    create, destroy,
    endpoint::{DockerOptions, Endpoint, Surroundings},
    error::{is_status, unread},
    hand_over,
    images::{self, Images},
    network, output, records, survey, watch,
};
use crate::{console::CONSOLE_LINES, failure::failure};

/// How many creates may be under way at once: what keeps two processors busy, as measured; more only queue up in the
/// engine, where they are not seen.
const CREATES_MAX: u32 = 16;

/// Ten starts at once took 2.5 s on two busy processors: 960 in four minutes. A sixth of that is promised.
const READY_IN_FOUR_MINUTES: u32 = 150;

/// A Docker engine, by its API.
#[derive(Debug, Clone)]
pub struct Docker {
    controller: ControllerId,
    connection: Arc<Connection>,
    images: Arc<Images>,
}

impl Docker {
    /// Settles where the engine is and reads the certificates. The engine is asked nothing yet: one that is down now
    /// may be up later.
    ///
    /// # Errors
    /// Where an address, a context or a certificate can't be used.
    pub fn connect(
        options: &DockerOptions,
        controller: ControllerId,
    ) -> Result<Self, BackendError> {
        let mut around = Surroundings::of_process();
        if options.config_directory.is_some() {
            around.config_directory.clone_from(&options.config_directory);
        }
        let endpoint = Endpoint::resolve(options, &around)?;
        Ok(Self {
            controller,
            connection: Arc::new(Connection::new(endpoint)?),
            images: Arc::new(Images::new(around.config_directory)),
        })
    }

    /// Where the engine is, as an address.
    #[must_use]
    pub fn address(&self) -> String {
        self.connection.endpoint.to_string()
    }

    /// Asks the engine for its version.
    ///
    /// # Errors
    /// Where it can't be reached.
    pub async fn version(&self) -> Result<String, BackendError> {
        let client = self.connection.client().await?;
        let version =
            client.version().await.map_err(|error| unread("ask for the version", &error))?;
        Ok(version.version.unwrap_or_default())
    }

    /// Every controller that has containers on the engine, and how many.
    ///
    /// # Errors
    /// Where it can't be reached.
    pub async fn controllers(&self) -> Result<BTreeMap<ControllerId, usize>, BackendError> {
        survey::controllers(&self.connection.client().await?).await
    }

    /// The addresses at which the containers of a network reach the engine's host, in the engine's order.
    ///
    /// # Errors
    /// Where it can't be reached, or has no such network.
    pub async fn gateways(&self, network: &str) -> Result<Vec<IpAddr>, BackendError> {
        network::gateways(&self.connection.client().await?, network).await
    }

    /// Whether the engine has an image.
    ///
    /// # Errors
    /// Where it can't be reached.
    pub async fn has_image(&self, image: &str) -> Result<bool, BackendError> {
        images::is_here(&self.connection.client().await?, image).await
    }

    /// Makes an image of one layer from a tar archive of its root file system, with the working directory that the
    /// waiter starts the runner in.
    ///
    /// # Errors
    /// The engine's, in its own words.
    pub async fn import_image(
        &self,
        image: &str,
        tar: Bytes,
        directory: &str,
    ) -> Result<(), BackendError> {
        let client = self.connection.client().await?;
        images::import(&client, image, tar, directory).await
    }

    async fn make(&self, request: CreateRequest<'_>) -> Result<Created, BackendError> {
        let client = self.connection.client().await?;
        if request.spec.pull == PullPolicy::Always {
            self.images.pull(&client, &request.spec.image).await?;
        }
        match create::create(&client, self.controller, request).await {
            Err(error) if error.kind == BackendErrorKind::ImageMissing => {
                if request.spec.pull == PullPolicy::Never {
                    let detail = format!("{}; `pull: never` forbids fetching it", error.detail);
                    return Err(failure(error.kind, error.operation, detail));
                }
                self.images.pull(&client, &request.spec.image).await?;
                create::create(&client, self.controller, request).await
            }
            result => result,
        }
    }

    async fn lines(
        &self,
        client: &Client,
        runner: &RunnerName,
    ) -> Result<Vec<String>, BackendError> {
        let records::ByName::Ours { id, .. } =
            records::by_name(client, self.controller, runner).await?
        else {
            return Ok(Vec::new());
        };
        match output::last(client, &id, CONSOLE_LINES).await {
            Err(error) if !is_status(&error, 404) => {
                Err(unread(format!("read the output of {runner}"), &error))
            }
            lines => Ok(lines.unwrap_or_default()),
        }
    }
}

impl Backend for Docker {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            hand_over: HandOver::Push,
            creates_max: CREATES_MAX,
            ready_in_four_minutes: READY_IN_FOUR_MINUTES,
            boots_fast: true,
            names_are_unique: true,
        }
    }

    fn controller(&self) -> ControllerId {
        self.controller
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<InstanceRecord>, BackendError>> {
        Box::pin(async { records::list(&self.connection.client().await?, self.controller).await })
    }

    fn capacity(&self) -> BoxFuture<'_, Result<Capacity, BackendError>> {
        Box::pin(async { capacity::capacity(&self.connection.client().await?).await })
    }

    fn inspect<'a>(
        &'a self,
        runner: &'a RunnerName,
    ) -> BoxFuture<'a, Result<Option<InstanceRecord>, BackendError>> {
        Box::pin(async move {
            records::inspect(&self.connection.client().await?, self.controller, runner).await
        })
    }

    fn create<'a>(
        &'a self,
        request: CreateRequest<'a>,
    ) -> BoxFuture<'a, Result<Created, BackendError>> {
        Box::pin(self.make(request))
    }

    fn hand_over<'a>(
        &'a self,
        runner: &'a RunnerName,
        id: &'a InstanceId,
        jit: JitConfig,
    ) -> BoxFuture<'a, Result<(), BackendError>> {
        Box::pin(async move {
            hand_over::hand_over(&self.connection.client().await?, runner, id, &jit).await
        })
    }

    fn destroy<'a>(
        &'a self,
        runner: &'a RunnerName,
        _force: bool,
    ) -> BoxFuture<'a, Result<(), BackendError>> {
        // Forced or not, the engine is told to kill and remove: there is nothing stronger to say to it.
        Box::pin(async move {
            destroy::destroy(&self.connection.client().await?, self.controller, runner).await
        })
    }

    fn watch<'a>(
        &'a self,
        began: &'a (dyn Fn() + Send + Sync),
        sink: WatchSink<'a>,
    ) -> BoxFuture<'a, BackendError> {
        Box::pin(watch::watch(&self.connection, self.controller, began, sink))
    }

    fn console<'a>(
        &'a self,
        runner: &'a RunnerName,
    ) -> BoxFuture<'a, Result<Vec<String>, BackendError>> {
        Box::pin(async move { self.lines(&self.connection.client().await?, runner).await })
    }

    fn check<'a>(&'a self, spec: &'a InstanceSpec) -> BoxFuture<'a, Vec<Finding>> {
        Box::pin(check::check(&self.connection, &self.images, spec))
    }
}
