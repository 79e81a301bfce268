//! The socket's file.

use std::{
    fs::{self, Permissions},
    os::unix::{
        fs::{FileTypeExt, PermissionsExt},
        net::UnixListener,
    },
    path::Path,
};

use dayfly_server::{Socket, SocketError, Version};

use crate::daemon::Daemon;

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn it_is_its_owners_alone_and_goes_at_the_end() {
    let daemon = Daemon::start();
    assert_eq!(mode(&daemon.path), 0o600);
    assert_eq!(mode(daemon.path.parent().unwrap()), 0o700);
    let (_directory, path) = daemon.end().await;
    assert!(!path.exists(), "the socket is left");
}

#[tokio::test]
async fn a_second_daemon_is_refused() {
    let daemon = Daemon::start();
    let refused = Socket::open(&daemon.path).unwrap_err();
    assert!(matches!(refused, SocketError::InUse { .. }), "{refused}");
    daemon.get::<Version>("/v1/version").await;
    daemon.end().await;
}

#[tokio::test]
async fn a_stale_socket_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("dayfly.sock");
    drop(UnixListener::bind(&path).unwrap());
    assert!(fs::metadata(&path).unwrap().file_type().is_socket(), "nothing is stale here");
    let socket = Socket::open(&path).unwrap();
    assert_eq!(mode(&path), 0o600);
    drop(socket);
    assert!(!path.exists());
}

#[tokio::test]
async fn another_socket_in_its_place_is_left() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("dayfly.sock");
    let socket = Socket::open(&path).unwrap();
    fs::remove_file(&path).unwrap();
    let _other = UnixListener::bind(&path).unwrap();
    drop(socket);
    assert!(path.exists(), "another's socket was removed");
}

#[tokio::test]
async fn what_is_no_socket_is_left() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("dayfly.sock");
    fs::write(&path, "precious").unwrap();
    let refused = Socket::open(&path).unwrap_err();
    assert!(matches!(refused, SocketError::NotASocket { .. }), "{refused}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");

    let link = directory.path().join("link.sock");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let refused = Socket::open(&link).unwrap_err();
    assert!(matches!(refused, SocketError::NotASocket { .. }), "{refused}");
}

#[tokio::test]
async fn a_directory_that_others_write_to_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let check = |bits: u32, refused: bool| {
        fs::set_permissions(directory.path(), Permissions::from_mode(bits)).unwrap();
        let opened = Socket::open(&directory.path().join("dayfly.sock"));
        assert_eq!(
            matches!(opened, Err(SocketError::Exposed { .. })),
            refused,
            "{bits:o}: {opened:?}"
        );
    };
    check(0o777, true);
    check(0o770, true);
    check(0o755, false);
    check(0o1777, false);
}

#[tokio::test]
async fn a_path_that_the_system_refuses_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let long = directory.path().join("x".repeat(150));
    let refused = Socket::open(&long).unwrap_err();
    assert!(refused.to_string().contains("xxx"), "{refused}");
    assert!(Socket::open(Path::new("/proc/no/such/place/dayfly.sock")).is_err());
}
