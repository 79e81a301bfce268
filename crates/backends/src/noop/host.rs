//! The other process's end: it holds the instances and has the runners played.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{SystemTime, UNIX_EPOCH},
};

use dayfly_core::{
    model::{ControllerId, Exit, RunnerName, Sign},
    ports::JitConfig,
};
use futures_util::StreamExt;
use tokio::{
    net::{UnixListener, UnixStream},
    sync::mpsc,
};
use tokio_util::{
    codec::{FramedRead, LinesCodec},
    task::TaskTracker,
};

use super::{
    link::speak,
    wire::{Answer, Call, Event, Record, Refusal, RefusalKind, Request, Told, line},
};

/// The longest line of a daemon, in bytes: a registration and its frame.
const LINE_MAX: usize = 128 << 10;

/// Plays the runners.
pub trait Player: Send + Sync {
    /// A runner got its registration: from now on it is played, and what it does is said by `say`. Must not block.
    fn hand_over(&self, runner: RunnerName, jit: JitConfig, say: EventSender);

    /// Its instance was destroyed: it is played no more. Must not block.
    fn destroyed(&self, runner: &RunnerName);
}

/// Where an instance is in its life.
enum Stage {
    Waiting,
    Played(Vec<Sign>),
    Ended(Vec<Sign>, Exit),
}

/// Who is told the events of a controller.
struct Listener {
    controller: ControllerId,
    /// Its reader is a process that is being measured: what is not yet read is at most six events an instance.
    lines: mpsc::UnboundedSender<String>,
}

#[derive(Default)]
struct State {
    instances: BTreeMap<RunnerName, (ControllerId, Stage)>,
    creates: Vec<(RunnerName, f64)>,
    listeners: Vec<Listener>,
}

impl State {
    fn tell(&mut self, controller: ControllerId, event: Event) {
        let text = line(&Told::Event(event));
        self.listeners.retain(|listener| {
            listener.controller != controller || listener.lines.send(text.clone()).is_ok()
        });
    }

    /// The instance, where it is of this controller.
    fn of(&mut self, runner: &RunnerName, controller: ControllerId) -> Option<&mut Stage> {
        self.instances.get_mut(runner).filter(|(of, _)| *of == controller).map(|(_, stage)| stage)
    }
}

/// Holds instances and serves daemons. The instances stay where a daemon leaves.
pub struct Host {
    state: Mutex<State>,
    player: Arc<dyn Player>,
    tasks: TaskTracker,
    own: Weak<Self>,
}

impl Host {
    /// A host without instances.
    #[must_use]
    pub fn new(player: Arc<dyn Player>) -> Arc<Self> {
        Arc::new_cyclic(|own| Self {
            state: Mutex::default(),
            player,
            tasks: TaskTracker::new(),
            own: own.clone(),
        })
    }

    /// Every create so far, with the unix time in seconds at which its request was read.
    #[must_use]
    pub fn creates(&self) -> Vec<(RunnerName, f64)> {
        self.state().creates.clone()
    }

    /// The times of the creates after the first `skipped`.
    #[must_use]
    pub fn create_times(&self, skipped: usize) -> Vec<f64> {
        self.state().creates.iter().skip(skipped).map(|(_, at)| *at).collect()
    }

    /// How many instances there are whose runner has not ended.
    #[must_use]
    pub fn live(&self) -> usize {
        self.state()
            .instances
            .values()
            .filter(|(_, stage)| !matches!(stage, Stage::Ended(..)))
            .count()
    }

    /// Serves daemons until the socket fails.
    pub async fn serve(&self, listener: UnixListener) -> io::Error {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    if let Some(own) = self.own.upgrade() {
                        self.tasks.spawn(async move { own.converse(stream).await });
                    }
                }
                Err(error) => return error,
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn converse(&self, stream: UnixStream) {
        let (read, write) = stream.into_split();
        let (say, said) = mpsc::unbounded_channel();
        let mut lines = FramedRead::new(read, LinesCodec::new_with_max_length(LINE_MAX));
        let hear = async {
            while let Some(Ok(text)) = lines.next().await {
                let Ok(request) = serde_json::from_str::<Request>(&text) else { return };
                let id = request.id;
                let result = self.answer(request, &say);
                if say.send(line(&Told::Answer { id, result })).is_err() {
                    return;
                }
            }
        };
        tokio::select! {
            () = hear => {}
            () = speak(write, said) => {}
        }
    }

    fn answer(
        &self,
        request: Request,
        say: &mpsc::UnboundedSender<String>,
    ) -> Result<Answer, Refusal> {
        let controller = request.controller;
        match request.call {
            Call::Create(runner) => self.create(runner, controller),
            Call::List => Ok(Answer::Records(self.records(controller, |_| true))),
            Call::Controllers => Ok(Answer::Controllers(self.controllers())),
            Call::Inspect(runner) => {
                Ok(Answer::Records(self.records(controller, |name| *name == runner)))
            }
            Call::HandOver { runner, registration } => {
                self.hand_over(runner, controller, registration)
            }
            Call::Destroy(runner) => self.destroy(&runner, controller),
            Call::Watch => {
                self.watch(controller, say);
                Ok(Answer::Done)
            }
        }
    }

    fn create(&self, runner: RunnerName, controller: ControllerId) -> Result<Answer, Refusal> {
        let read_at = unix_time();
        let mut state = self.state();
        if let Some((of, stage)) = state.instances.get(&runner) {
            return if *of == controller {
                Ok(Answer::Created { ended: matches!(stage, Stage::Ended(..)) })
            } else {
                Err(refusal(
                    RefusalKind::NotAllowed,
                    "another controller has an instance of this name",
                ))
            };
        }
        state.creates.push((runner.clone(), read_at));
        state.instances.insert(runner.clone(), (controller, Stage::Waiting));
        state.tell(controller, Event::Ready(runner));
        Ok(Answer::Created { ended: false })
    }

    fn records(
        &self,
        controller: ControllerId,
        wanted: impl Fn(&RunnerName) -> bool,
    ) -> Vec<Record> {
        let state = self.state();
        let ours =
            state.instances.iter().filter(|(runner, (of, _))| *of == controller && wanted(runner));
        ours.map(|(runner, (_, stage))| {
            let exit = if let Stage::Ended(_, exit) = stage { Some(exit.clone()) } else { None };
            Record { runner: runner.clone(), exit }
        })
        .collect()
    }

    fn controllers(&self) -> BTreeMap<ControllerId, usize> {
        let mut counts = BTreeMap::new();
        for (controller, _) in self.state().instances.values() {
            *counts.entry(*controller).or_insert(0) += 1;
        }
        counts
    }

    fn hand_over(
        &self,
        runner: RunnerName,
        controller: ControllerId,
        jit: String,
    ) -> Result<Answer, Refusal> {
        match self.state().of(&runner, controller) {
            Some(stage @ Stage::Waiting) => *stage = Stage::Played(Vec::new()),
            Some(_) => {
                return Err(refusal(
                    RefusalKind::NotAllowed,
                    "it has taken a registration already",
                ));
            }
            None => return Err(refusal(RefusalKind::Transient, "there is no such instance")),
        }
        let say = EventSender { host: self.own.clone(), runner: runner.clone(), controller };
        self.player.hand_over(runner, JitConfig::new(jit), say);
        Ok(Answer::Done)
    }

    fn destroy(&self, runner: &RunnerName, controller: ControllerId) -> Result<Answer, Refusal> {
        let mut state = self.state();
        match state.instances.get(runner) {
            None => return Ok(Answer::Done),
            Some((of, _)) if *of != controller => {
                return Err(refusal(RefusalKind::NotAllowed, "it is another controller's"));
            }
            Some(_) => state.instances.remove(runner),
        };
        drop(state);
        self.player.destroyed(runner);
        Ok(Answer::Done)
    }

    fn watch(&self, controller: ControllerId, say: &mpsc::UnboundedSender<String>) {
        let mut state = self.state();
        for (runner, (_, stage)) in state.instances.iter().filter(|(_, (of, _))| *of == controller)
        {
            let (signs, exit) = match stage {
                Stage::Waiting => (&[][..], None),
                Stage::Played(signs) => (&signs[..], None),
                Stage::Ended(signs, exit) => (&signs[..], Some(exit)),
            };
            let said = signs.iter().map(|sign| Event::Said(runner.clone(), *sign));
            let ended = exit.map(|exit| Event::Ended(runner.clone(), exit.clone()));
            for event in said.chain(ended) {
                // A connection that broke is noticed by its reader.
                let _ = say.send(line(&Told::Event(event)));
            }
        }
        // A daemon that asks anew on the same connection listens once.
        state.listeners.retain(|listener| !listener.lines.same_channel(say));
        state.listeners.push(Listener { controller, lines: say.clone() });
    }
}

/// Says what one played runner does. Once its instance is destroyed nobody listens any more.
#[derive(Clone)]
pub struct EventSender {
    host: Weak<Host>,
    runner: RunnerName,
    controller: ControllerId,
}

impl EventSender {
    /// The runner said something on its console.
    pub fn said(&self, sign: Sign) {
        let Some(host) = self.host.upgrade() else { return };
        let mut state = host.state();
        if let Some(Stage::Played(signs)) = state.of(&self.runner, self.controller)
            && !signs.contains(&sign)
        {
            signs.push(sign);
            state.tell(self.controller, Event::Said(self.runner.clone(), sign));
        }
    }

    /// The runner's process ended.
    pub fn ended(&self, exit: Exit) {
        let Some(host) = self.host.upgrade() else { return };
        let mut state = host.state();
        if let Some(stage) = state.of(&self.runner, self.controller)
            && let Stage::Played(signs) = stage
        {
            *stage = Stage::Ended(std::mem::take(signs), exit.clone());
            state.tell(self.controller, Event::Ended(self.runner.clone(), exit));
        }
    }
}

fn refusal(kind: RefusalKind, words: &str) -> Refusal {
    Refusal { kind, words: words.to_owned() }
}

#[expect(
    clippy::disallowed_methods,
    reason = "it stands for an engine, whose clock is not the daemon's"
)]
fn unix_time() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
