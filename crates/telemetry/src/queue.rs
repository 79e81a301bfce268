//! A bounded queue to a thread that writes lines.

use std::{
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, channel, sync_channel},
    },
    thread,
    time::Duration,
};

/// How many lines may wait: a burst of 1,000 runners makes a few thousand at once; with their text some megabytes.
const LINES_MAX: usize = 8_192;

/// How long the flush at the end waits for a writer: what a terminal or a disk that works needs, and no more.
const FLUSH_MAX: Duration = Duration::from_secs(2);

/// How long to wait before room in a full queue is looked for again, at the end only.
const FLUSH_STEP: Duration = Duration::from_millis(10);

/// How lines are rendered.
pub(crate) struct Rendering<T> {
    /// One item, with its line end.
    pub(crate) item: fn(&T, &mut Vec<u8>),
    /// That so many lines are missing here, with its line end.
    pub(crate) missing: fn(u64, &mut Vec<u8>),
}

enum Order<T> {
    Write(T),
    Flush(std::sync::mpsc::Sender<()>),
}

/// The queue's end for those who have something to say. Never blocks.
pub(crate) struct Queue<T> {
    orders: SyncSender<Order<T>>,
    lost: Arc<Lost>,
}

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Self {
        Self { orders: self.orders.clone(), lost: self.lost.clone() }
    }
}

#[derive(Default)]
struct Lost {
    unsaid: AtomicU64,
    total: AtomicU64,
}

impl Lost {
    fn count(&self, lines: u64) {
        self.unsaid.fetch_add(lines, Ordering::Relaxed);
        self.total.fetch_add(lines, Ordering::Relaxed);
    }
}

impl<T: Send + 'static> Queue<T> {
    /// Starts the writer's thread, which ends with the last clone of the queue.
    pub(crate) fn start(
        name: &str,
        writer: impl Write + Send + 'static,
        rendering: Rendering<T>,
    ) -> io::Result<Self> {
        let (orders, waiting) = sync_channel(LINES_MAX);
        let lost = Arc::new(Lost::default());
        let queue = Self { orders, lost: lost.clone() };
        thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || write(writer, &waiting, &rendering, &lost))?;
        Ok(queue)
    }

    /// Says something; counts it as lost where the queue is full.
    pub(crate) fn push(&self, item: T) {
        if self.orders.try_send(Order::Write(item)).is_err() {
            self.lost.count(1);
        }
    }

    /// How many lines were lost so far, for want of room or because they could not be written.
    pub(crate) fn lost(&self) -> u64 {
        self.lost.total.load(Ordering::Relaxed)
    }

    /// Waits until all that was said before is written, or for two seconds.
    pub(crate) fn flush(&self) {
        let (done, wait) = channel();
        let mut order = Order::Flush(done);
        let mut waited = Duration::ZERO;
        while waited < FLUSH_MAX {
            match self.orders.try_send(order) {
                Ok(()) => {
                    // Nobody is left to hear of a writer that is stuck.
                    let _ = wait.recv_timeout(FLUSH_MAX - waited);
                    return;
                }
                Err(TrySendError::Full(back)) => order = back,
                Err(TrySendError::Disconnected(_)) => return,
            }
            thread::sleep(FLUSH_STEP);
            waited += FLUSH_STEP;
        }
    }
}

fn write<T>(
    mut writer: impl Write,
    orders: &Receiver<Order<T>>,
    rendering: &Rendering<T>,
    lost: &Lost,
) {
    let mut line = Vec::new();
    while let Some(order) = next(&mut writer, orders) {
        match order {
            Order::Write(item) => {
                line.clear();
                let unsaid = lost.unsaid.swap(0, Ordering::Relaxed);
                if unsaid > 0 {
                    (rendering.missing)(unsaid, &mut line);
                }
                (rendering.item)(&item, &mut line);
                if writer.write_all(&line).is_err() {
                    lost.unsaid.fetch_add(unsaid, Ordering::Relaxed);
                    lost.count(1);
                }
            }
            Order::Flush(done) => {
                let _ = writer.flush();
                let _ = done.send(());
            }
        }
    }
}

/// The next order; flushes before it waits for one.
fn next<T>(writer: &mut impl Write, orders: &Receiver<Order<T>>) -> Option<Order<T>> {
    match orders.try_recv() {
        Ok(order) => Some(order),
        Err(TryRecvError::Empty) => {
            let _ = writer.flush();
            orders.recv().ok()
        }
        Err(TryRecvError::Disconnected) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, mpsc};

    use super::*;

    /// A writer that waits for a word before each line, and keeps what it wrote.
    struct Slow {
        go: mpsc::Receiver<()>,
        kept: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Slow {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            let _ = self.go.recv();
            self.kept.lock().unwrap().extend_from_slice(text);
            Ok(text.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn numbers() -> Rendering<u64> {
        Rendering {
            item: |number, line| line.extend_from_slice(format!("{number}\n").as_bytes()),
            missing: |lines, line| line.extend_from_slice(format!("{lines} missing\n").as_bytes()),
        }
    }

    #[test]
    fn what_finds_no_room_is_counted_and_said() {
        let (go, held) = mpsc::channel();
        let kept = Arc::new(Mutex::new(Vec::new()));
        let queue = Queue::start("test", Slow { go: held, kept: kept.clone() }, numbers()).unwrap();
        let pushed = LINES_MAX as u64 + 100;
        for number in 0..pushed {
            queue.push(number);
        }
        // The writer holds one line in its hand at most.
        let lost = queue.lost();
        assert!((99..=100).contains(&lost), "{lost}");
        drop(go);
        queue.flush();
        let text = String::from_utf8(kept.lock().unwrap().clone()).unwrap();
        assert!(text.contains(&format!("{lost} missing\n")), "the loss is not said");
        assert_eq!(
            text.lines().filter(|line| !line.contains("missing")).count() as u64,
            pushed - lost
        );
    }

    #[test]
    fn a_writer_that_fails_loses_lines_and_is_tried_again() {
        struct Full(bool, Arc<Mutex<Vec<u8>>>);
        impl Write for Full {
            fn write(&mut self, text: &[u8]) -> io::Result<usize> {
                if std::mem::take(&mut self.0) {
                    return Err(io::ErrorKind::StorageFull.into());
                }
                self.1.lock().unwrap().extend_from_slice(text);
                Ok(text.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let kept = Arc::new(Mutex::new(Vec::new()));
        let queue = Queue::start("test", Full(true, kept.clone()), numbers()).unwrap();
        queue.push(1);
        queue.push(2);
        queue.flush();
        assert_eq!(queue.lost(), 1);
        assert_eq!(String::from_utf8(kept.lock().unwrap().clone()).unwrap(), "1 missing\n2\n");
    }
}
