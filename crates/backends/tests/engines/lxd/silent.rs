//! A stand-in for LXD's socket, which LXD 5.0 stops listening to for as long as a connection says nothing.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use dayfly_backends::lxd::{Lxd, LxdOptions, LxdServer};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
    task::JoinSet,
    time::timeout,
};

use crate::suite::controller;

/// A connection that says nothing for so long was opened for later. One that is about to speak needs moments.
const SILENCE: Duration = Duration::from_secs(2);

const CLIENTS: usize = 40;
const CALLS: usize = 24;

/// Answers every request with an empty list; counts connections that say nothing.
async fn serve(mut connection: UnixStream, silent: Arc<AtomicUsize>) {
    let mut request = [0; 4096];
    let mut is_first = true;
    loop {
        let read = timeout(SILENCE, connection.read(&mut request)).await;
        match read {
            // One that has spoken may rest.
            Err(_) if !is_first => return,
            Err(_) => {
                silent.fetch_add(1, Ordering::Relaxed);
                return;
            }
            Ok(Ok(0) | Err(_)) => return,
            Ok(Ok(_)) => is_first = false,
        }
        let body = r#"{"type":"sync","status_code":200,"metadata":[]}"#;
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        if connection.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_connection_to_the_socket_speaks_at_once() {
    let home = tempfile::tempdir().unwrap();
    let socket = home.path().join("unix.socket");
    let listener = UnixListener::bind(&socket).unwrap();
    let silent = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&silent);
    let mut server = JoinSet::new();
    server.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((connection, _)) = listener.accept().await {
            connections.spawn(serve(connection, Arc::clone(&count)));
        }
    });
    let options = LxdOptions { server: LxdServer::Socket(socket), ..LxdOptions::default() };
    let connect = || Lxd::connect(&options, controller()).unwrap();
    let clients: Vec<Lxd> = (0..CLIENTS).map(|_| connect()).collect();
    for lxd in &clients {
        // The first answers come while the last calls still connect.
        let mut calls = JoinSet::new();
        for _ in 0..CALLS {
            let lxd = lxd.clone();
            calls.spawn(async move { lxd.controllers().await });
        }
        for counts in calls.join_all().await {
            assert!(counts.unwrap().is_empty());
        }
    }
    tokio::time::sleep(SILENCE + Duration::from_millis(500)).await;
    assert_eq!(silent.load(Ordering::Relaxed), 0);
}
