//! The port's face of a server of LXD or Incus.

use std::{collections::BTreeMap, sync::Arc};

use dayfly_core::{
    model::{Capacity, ControllerId, InstanceId, InstanceSpec, RunnerName},
    ports::{
        Backend, BackendError, BoxFuture, Capabilities, CreateRequest, Created, Finding, HandOver,
        InstanceRecord, JitConfig, WatchSink,
    },
};
use tokio::sync::broadcast;

use super::{
    address::LxdOptions,
    capacity, check,
    client::Client,
    console, create, destroy, hand_over,
    records::{self, ByName, Standing, by_name},
    survey, watch,
};
use crate::console::CONSOLE_LINES;

/// How many creates may be under way at once: what keeps two processors and a disk busy, as measured; more only queue up
/// in the server.
const CREATES_MAX: u32 = 8;

/// Ten small containers at once took 2.1 s on two processors, ten of a whole Debian 10 s where the storage copies: 90 in
/// four minutes at worst. Two thirds of that are promised.
const READY_IN_FOUR_MINUTES: u32 = 60;

/// How many hand-overs the watch may be behind: it misses no more than a look.
const HAND_OVERS_MAX: usize = 64;

/// A server of LXD or Incus, by its API.
#[derive(Debug, Clone)]
pub struct Lxd {
    controller: ControllerId,
    client: Arc<Client>,
    /// Tells the watch whose output is worth a look.
    handed_over: broadcast::Sender<RunnerName>,
}

impl Lxd {
    /// Settles where the server is and reads the certificates. The server is asked nothing yet: one that is down now may
    /// be up later.
    ///
    /// # Errors
    /// Where an address or a certificate can't be used.
    pub fn connect(options: &LxdOptions, controller: ControllerId) -> Result<Self, BackendError> {
        let client = Arc::new(Client::new(options)?);
        let (handed_over, _) = broadcast::channel(HAND_OVERS_MAX);
        Ok(Self { controller, client, handed_over })
    }

    /// Where the server is, as an address.
    #[must_use]
    pub fn address(&self) -> String {
        self.client.address.to_string()
    }

    /// Every controller that has instances on the server, and how many.
    ///
    /// # Errors
    /// Where it can't be reached.
    pub async fn controllers(&self) -> Result<BTreeMap<ControllerId, usize>, BackendError> {
        survey::controllers(&self.client).await
    }

    async fn lines(&self, runner: &RunnerName) -> Result<Vec<String>, BackendError> {
        let ByName::Ours(found) = by_name(&self.client, self.controller, runner).await? else {
            return Ok(Vec::new());
        };
        let ended = match found.standing() {
            Standing::Booting if found.instance.is_stopped() => return Ok(Vec::new()),
            standing => standing == Standing::Ended,
        };
        let lines = console::last(&self.client, runner.as_str(), ended, CONSOLE_LINES).await;
        lines.map_err(|failed| {
            failed.reading(format!("read the output of {runner}"), &self.client.address)
        })
    }
}

impl Backend for Lxd {
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
        Box::pin(records::list(&self.client, self.controller))
    }

    fn capacity(&self) -> BoxFuture<'_, Result<Capacity, BackendError>> {
        Box::pin(capacity::capacity(&self.client))
    }

    fn inspect<'a>(
        &'a self,
        runner: &'a RunnerName,
    ) -> BoxFuture<'a, Result<Option<InstanceRecord>, BackendError>> {
        Box::pin(records::inspect(&self.client, self.controller, runner))
    }

    fn create<'a>(
        &'a self,
        request: CreateRequest<'a>,
    ) -> BoxFuture<'a, Result<Created, BackendError>> {
        Box::pin(create::create(&self.client, self.controller, request))
    }

    fn hand_over<'a>(
        &'a self,
        runner: &'a RunnerName,
        id: &'a InstanceId,
        jit: JitConfig,
    ) -> BoxFuture<'a, Result<(), BackendError>> {
        Box::pin(async move {
            let given = hand_over::hand_over(&self.client, self.controller, runner, id, &jit).await;
            // Nobody may be watching.
            let _ = self.handed_over.send(runner.clone());
            given
        })
    }

    fn destroy<'a>(
        &'a self,
        runner: &'a RunnerName,
        _force: bool,
    ) -> BoxFuture<'a, Result<(), BackendError>> {
        // Forced or not, the server is told to kill and delete: there is nothing stronger to say to it.
        Box::pin(destroy::destroy(&self.client, self.controller, runner))
    }

    fn watch<'a>(
        &'a self,
        began: &'a (dyn Fn() + Send + Sync),
        sink: WatchSink<'a>,
    ) -> BoxFuture<'a, BackendError> {
        let handed_over = self.handed_over.subscribe();
        Box::pin(watch::watch(&self.client, self.controller, handed_over, began, sink))
    }

    fn console<'a>(
        &'a self,
        runner: &'a RunnerName,
    ) -> BoxFuture<'a, Result<Vec<String>, BackendError>> {
        Box::pin(self.lines(runner))
    }

    fn check<'a>(&'a self, spec: &'a InstanceSpec) -> BoxFuture<'a, Vec<Finding>> {
        Box::pin(check::check(&self.client, self.controller, spec))
    }
}
