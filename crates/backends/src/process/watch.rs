//! Following the instances: their directories by inotify, their ends by process handles. Nothing is polled.

use std::{
    collections::{BTreeMap, HashMap},
    convert::Infallible,
    io,
    mem::MaybeUninit,
    os::fd::OwnedFd,
};

use dayfly_core::{
    model::RunnerName,
    ports::{BackendError, InstanceEvent, WatchSink},
};
use futures_util::{StreamExt, stream::FuturesUnordered};
use rustix::{
    fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags},
    io::Errno,
};
use tokio::io::{Interest, unix::AsyncFd};

use super::{
    backend::Process,
    directory::{Directory, Tag, runners},
    fault, kernel,
    tail::Tail,
};
use crate::console::Signs;

/// Follows until the kernel refuses.
pub(super) async fn watch(
    backend: &Process,
    began: &(dyn Fn() + Send + Sync),
    sink: WatchSink<'_>,
) -> BackendError {
    match follow(backend, began, sink).await {
        Ok(never) => match never {},
        Err(error) => fault::on_file("follow the instances", &backend.root, &error),
    }
}

async fn follow(
    backend: &Process,
    began: &(dyn Fn() + Send + Sync),
    sink: WatchSink<'_>,
) -> io::Result<Infallible> {
    let inotify = readable(inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?)?;
    // A new instance comes by a rename, complete with its tag.
    inotify::add_watch(&inotify, &backend.root, WatchFlags::MOVED_TO | WatchFlags::ONLYDIR)?;
    let mut followed =
        Followed { backend, sink, by_watch: HashMap::new(), by_runner: BTreeMap::new() };
    let mut ends = FuturesUnordered::new();
    began();
    let mut look = true;
    loop {
        if look {
            for runner in runners(&backend.root)? {
                followed.begin(&inotify, &runner)?;
            }
        }
        ends.extend(followed.read().into_iter().map(ended));
        // Readiness is kept by the kernel until it is read, and a future that is done by the set.
        tokio::select! {
            ready = inotify.readable() => {
                let mut ready = ready?;
                look = drain(&inotify, &mut followed)?;
                ready.clear_ready();
            }
            Some(runner) = ends.next() => {
                look = false;
                followed.end(&inotify, &runner);
            }
        }
    }
}

/// Reads what inotify has to say; gives whether there are instances that are not followed.
fn drain(inotify: &AsyncFd<OwnedFd>, followed: &mut Followed<'_>) -> io::Result<bool> {
    let mut look = false;
    let mut bytes = [MaybeUninit::uninit(); 8 << 10];
    let mut reader = inotify::Reader::new(inotify, &mut bytes);
    loop {
        match reader.next() {
            Ok(event) if event.events().contains(ReadFlags::QUEUE_OVERFLOW) => {
                look = true;
                followed.touch_all();
            }
            Ok(event) => look |= !followed.touch(event.wd()),
            Err(Errno::AGAIN) => return Ok(look),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Waits for a process's end, by its handle.
async fn ended((runner, handle): (RunnerName, Option<OwnedFd>)) -> RunnerName {
    if let Some(handle) = handle
        && let Ok(handle) = readable(handle)
    {
        // An error would come from the handle itself; the process is looked at again either way.
        let _ = handle.readable().await;
    }
    runner
}

/// A descriptor that tokio tells us to be readable.
#[expect(
    deprecated,
    reason = "the other way is `unsafe` for types that may swap their descriptor; `OwnedFd` can't"
)]
fn readable(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(descriptor, Interest::READABLE)
}

/// An instance that is followed.
struct One {
    directory: Directory,
    tag: Tag,
    watch: i32,
    touched: bool,
    started: bool,
    tail: Tail,
    signs: Signs,
}

struct Followed<'a> {
    backend: &'a Process,
    sink: WatchSink<'a>,
    by_watch: HashMap<i32, RunnerName>,
    by_runner: BTreeMap<RunnerName, One>,
}

impl Followed<'_> {
    /// Follows an instance of ours from the beginning of its output; one that is followed goes on being so.
    fn begin(&mut self, inotify: &AsyncFd<OwnedFd>, runner: &RunnerName) -> io::Result<()> {
        let directory = self.backend.directory(runner);
        if self.by_runner.contains_key(runner) {
            return Ok(());
        }
        // One whose tag can't be read is not known to be ours; the list says so aloud.
        let Ok(Some(tag)) = directory.tag() else { return Ok(()) };
        if tag.controller != self.backend.controller {
            return Ok(());
        }
        let flags = WatchFlags::MODIFY | WatchFlags::CLOSE_WRITE | WatchFlags::ONLYDIR;
        let watch = match inotify::add_watch(inotify, &directory.path, flags) {
            Ok(watch) => watch,
            // It was removed meanwhile.
            Err(Errno::NOENT) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        self.by_watch.insert(watch, runner.clone());
        let one = One {
            directory,
            tag,
            watch,
            touched: true,
            started: false,
            tail: Tail::default(),
            signs: Signs::default(),
        };
        self.by_runner.insert(runner.clone(), one);
        Ok(())
    }

    /// Notes that something in a directory changed; gives whether the directory is followed.
    fn touch(&mut self, watch: i32) -> bool {
        let one = self.by_watch.get(&watch).and_then(|runner| self.by_runner.get_mut(runner));
        one.map(|one| one.touched = true).is_some()
    }

    fn touch_all(&mut self) {
        for one in self.by_runner.values_mut() {
            one.touched = true;
        }
    }

    /// Reads what was added; gives the processes that were found to have begun.
    fn read(&mut self) -> Vec<(RunnerName, Option<OwnedFd>)> {
        let mut begun = Vec::new();
        for (runner, one) in &mut self.by_runner {
            if !std::mem::take(&mut one.touched) {
                continue;
            }
            if !one.started
                && let Some(stat) = one.directory.start()
            {
                one.started = true;
                begun.push((
                    runner.clone(),
                    stat.handle().filter(|_| one.tag.boot == kernel::boot()),
                ));
                (self.sink)(InstanceEvent::Ready(runner.clone()));
            }
            one.read(runner, self.sink);
        }
        begun
    }

    /// Tells an end, after all that was said before it.
    fn end(&mut self, inotify: &AsyncFd<OwnedFd>, runner: &RunnerName) {
        let Some(mut one) = self.by_runner.remove(runner) else { return };
        self.by_watch.remove(&one.watch);
        // Of a directory that is gone the watch is gone too.
        let _ = inotify::remove_watch(inotify, one.watch);
        one.read(runner, self.sink);
        (self.sink)(InstanceEvent::Ended(runner.clone(), one.directory.exit(&one.tag)));
    }
}

impl One {
    fn read(&mut self, runner: &RunnerName, sink: WatchSink<'_>) {
        let signs = &mut self.signs;
        self.tail.read(&self.directory.console(), |line| {
            if let Some(sign) = signs.read(line) {
                sink(InstanceEvent::Said(runner.clone(), sign));
            }
        });
    }
}
