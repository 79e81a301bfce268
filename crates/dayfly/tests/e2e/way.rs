//! A way to the simulated GitHub that can be cut, so that GitHub dies for its clients and keeps its state, as the real one does.

use std::{net::SocketAddr, thread::JoinHandle};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

/// A relay in a thread of its own, which ends when this is dropped.
pub struct Way {
    /// Its address, as a URL.
    pub base: String,
    open: Option<watch::Sender<bool>>,
    thread: Option<JoinHandle<()>>,
}

impl Way {
    /// An open way.
    pub fn to(target: SocketAddr) -> Self {
        // The port stays the same: it is taken once, and again after each cut.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let (open, is_open) = watch::channel(true);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(relay(address, target, is_open));
        });
        Self { base: format!("http://{address}"), open: Some(open), thread: Some(thread) }
    }

    /// Cuts it: connections break and new ones are refused; or opens it again.
    pub fn open(&self, open: bool) {
        self.open.as_ref().unwrap().send_replace(open);
    }
}

async fn relay(address: SocketAddr, target: SocketAddr, mut is_open: watch::Receiver<bool>) {
    // An error means that the way is given up.
    while is_open.wait_for(|open| *open).await.is_ok() {
        let listener = TcpListener::bind(address).await.unwrap();
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    let (mut client, _) = accepted.unwrap();
                    connections.spawn(async move {
                        let mut server = TcpStream::connect(target).await?;
                        tokio::io::copy_bidirectional(&mut client, &mut server).await
                    });
                }
                Some(_) = connections.join_next() => {}
                cut = is_open.wait_for(|open| !*open) => match cut {
                    Ok(_) => break,
                    Err(_) => return,
                },
            }
        }
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        drop(self.open.take());
        let _ = self.thread.take().unwrap().join();
    }
}
