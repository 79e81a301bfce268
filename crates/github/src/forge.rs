//! The `Forge` port, by the parts of the client.

use dayfly_core::{
    model::{
        Message, MessageId, RegistrationId, RunnerGroupId, RunnerName, ScaleSetId, SessionId,
        WorkflowJob,
    },
    ports::{
        BoxFuture, CaughtUp, Finding, Forge, ForgeError, JobRecord, Minted, RateLimit,
        RunnerRecord, ScaleSetRecord, Session,
    },
};

use crate::client::GitHub;

impl Forge for GitHub {
    fn find_group<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<RunnerGroupId, ForgeError>> {
        Box::pin(self.shared.find_group(name))
    }

    fn find_scale_set<'a>(
        &'a self,
        group: RunnerGroupId,
        name: &'a str,
    ) -> BoxFuture<'a, Result<Option<ScaleSetRecord>, ForgeError>> {
        Box::pin(self.shared.find_scale_set(group, name))
    }

    fn create_scale_set<'a>(
        &'a self,
        group: RunnerGroupId,
        name: &'a str,
        labels: &'a [String],
    ) -> BoxFuture<'a, Result<ScaleSetRecord, ForgeError>> {
        Box::pin(self.shared.create_scale_set(group, name, labels))
    }

    fn update_scale_set<'a>(
        &'a self,
        id: ScaleSetId,
        group: RunnerGroupId,
        name: &'a str,
        labels: &'a [String],
    ) -> BoxFuture<'a, Result<ScaleSetRecord, ForgeError>> {
        Box::pin(self.shared.update_scale_set(id, group, name, labels))
    }

    fn delete_scale_set(&self, id: ScaleSetId) -> BoxFuture<'_, Result<(), ForgeError>> {
        Box::pin(self.shared.delete_scale_set(id))
    }

    fn open_session(&self, set: ScaleSetId) -> BoxFuture<'_, Result<Session, ForgeError>> {
        Box::pin(self.shared.open_session(set))
    }

    fn refresh_session<'a>(
        &'a self,
        set: ScaleSetId,
        session: &'a SessionId,
    ) -> BoxFuture<'a, Result<Session, ForgeError>> {
        Box::pin(self.shared.refresh_session(set, session))
    }

    fn close_session<'a>(
        &'a self,
        set: ScaleSetId,
        session: &'a SessionId,
    ) -> BoxFuture<'a, Result<(), ForgeError>> {
        Box::pin(self.shared.close_session(set, session))
    }

    fn poll(
        &self,
        set: ScaleSetId,
        cursor: MessageId,
        capacity: u32,
    ) -> BoxFuture<'_, Result<Option<Message>, ForgeError>> {
        Box::pin(self.shared.poll(set, cursor, capacity))
    }

    fn acknowledge(
        &self,
        set: ScaleSetId,
        message: MessageId,
    ) -> BoxFuture<'_, Result<(), ForgeError>> {
        Box::pin(self.shared.acknowledge(set, message))
    }

    fn acquire<'a>(
        &'a self,
        set: ScaleSetId,
        requests: &'a [i64],
    ) -> BoxFuture<'a, Result<Vec<i64>, ForgeError>> {
        Box::pin(self.shared.acquire(set, requests))
    }

    fn mint<'a>(
        &'a self,
        set: ScaleSetId,
        runner: &'a RunnerName,
    ) -> BoxFuture<'a, Result<Minted, ForgeError>> {
        Box::pin(self.shared.mint(set, runner))
    }

    fn register<'a>(
        &'a self,
        group: RunnerGroupId,
        labels: &'a [String],
        runner: &'a RunnerName,
    ) -> BoxFuture<'a, Result<Minted, ForgeError>> {
        Box::pin(self.shared.register_alone(group, labels, runner))
    }

    fn find_runner<'a>(
        &'a self,
        runner: &'a RunnerName,
    ) -> BoxFuture<'a, Result<Option<RunnerRecord>, ForgeError>> {
        Box::pin(self.shared.find_runner(runner))
    }

    fn remove_runner(&self, id: RegistrationId) -> BoxFuture<'_, Result<bool, ForgeError>> {
        Box::pin(self.shared.remove_runner(id))
    }

    fn list_runners(&self) -> BoxFuture<'_, Result<Vec<RunnerRecord>, ForgeError>> {
        Box::pin(self.shared.list_runners())
    }

    fn find_jobs<'a>(
        &'a self,
        repository: &'a str,
        run: i64,
        job: Option<i64>,
    ) -> BoxFuture<'a, Result<Vec<JobRecord>, ForgeError>> {
        Box::pin(self.shared.find_jobs(repository, run, job))
    }

    fn catch_up<'a>(
        &'a self,
        repositories: &'a [String],
        cursor: Option<i64>,
    ) -> BoxFuture<'a, Result<CaughtUp, ForgeError>> {
        Box::pin(self.shared.catch_up(repositories, cursor))
    }

    fn read_job<'a>(
        &'a self,
        repository: &'a str,
        id: i64,
    ) -> BoxFuture<'a, Result<Option<WorkflowJob>, ForgeError>> {
        Box::pin(self.shared.read_job(repository, id))
    }

    fn rate_limit(&self) -> Option<RateLimit> {
        self.shared.wire.limits().newest()
    }

    fn requests(&self) -> (u64, u64) {
        self.shared.wire.requests()
    }

    fn check<'a>(&'a self, group: &'a str) -> BoxFuture<'a, Vec<Finding>> {
        Box::pin(self.shared.check(group))
    }
}
