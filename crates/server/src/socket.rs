//! The socket's file: made safely, replaced only when it is stale, removed at the end.

use std::{
    fs::{self, DirBuilder, Metadata, Permissions},
    io,
    os::unix::{
        fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt},
        net::UnixStream,
    },
    path::{Path, PathBuf},
};

use tokio::net::UnixListener;
use tracing::{info, warn};

/// Read and write for the owner, nothing for others: on Linux and macOS connecting needs the right to write.
const SOCKET_MODE: u32 = 0o600;

/// The directory that is made where there is none.
const DIRECTORY_MODE: u32 = 0o700;

/// Rights by which others could put a socket of theirs in the place of ours.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// In a directory with this bit (`/tmp`) nobody can replace another's file.
const STICKY: u32 = 0o1000;

/// The socket can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Somebody answers on it.
    #[error("a daemon answers on {} already; stop it first, or give this one another socket", .path.display())]
    InUse {
        /// Which socket.
        path: PathBuf,
    },
    /// Something else is in its place.
    #[error("{} is in the way and is no socket; move it, or give another path", .path.display())]
    NotASocket {
        /// What is in the way.
        path: PathBuf,
    },
    /// Others could replace the socket.
    #[error("others may write to {}, the socket's directory; take that right away (`chmod go-w`)", .path.display())]
    Exposed {
        /// The directory.
        path: PathBuf,
    },
    /// The system refused.
    #[error("cannot {operation} {}", .path.display())]
    Io {
        /// What was to be done.
        operation: &'static str,
        /// To what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// An open socket. Its file goes when this is dropped, unless another took its place.
#[derive(Debug)]
pub struct Socket {
    pub(crate) listener: UnixListener,
    path: PathBuf,
    /// Device and inode of our file.
    identity: (u64, u64),
}

impl Socket {
    /// Opens the socket, mode 0600; a missing directory is made with mode 0700, an existing one is left as it is. Needs
    /// a tokio runtime around it.
    ///
    /// # Errors
    /// Where somebody answers on it, where something else is in its place, where others could replace it, or where
    /// the system refuses.
    pub fn open(path: &Path) -> Result<Self, SocketError> {
        let failed = |operation, path: &Path| {
            let path = path.to_owned();
            move |source| SocketError::Io { operation, path, source }
        };
        let directory =
            path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        DirBuilder::new()
            .recursive(true)
            .mode(DIRECTORY_MODE)
            .create(directory)
            .map_err(failed("make the directory", directory))?;
        let mode = fs::metadata(directory).map_err(failed("read the mode of", directory))?.mode();
        if mode & WRITABLE_BY_OTHERS != 0 && mode & STICKY == 0 {
            return Err(SocketError::Exposed { path: directory.to_owned() });
        }
        clear(path)?;
        let listener = UnixListener::bind(path).map_err(failed("open the socket", path))?;
        fs::set_permissions(path, Permissions::from_mode(SOCKET_MODE))
            .map_err(failed("set the mode of", path))?;
        let metadata = fs::symlink_metadata(path).map_err(failed("read the mode of", path))?;
        Ok(Self { listener, path: path.to_owned(), identity: identity(&metadata) })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|metadata| identity(&metadata) == self.identity);
        if ours && let Err(error) = fs::remove_file(&self.path) {
            warn!(socket = %self.path.display(), %error, "the socket could not be removed; the next start replaces it");
        }
    }
}

/// Makes room for the socket: a stale one, left by a daemon that was killed, goes.
fn clear(path: &Path) -> Result<(), SocketError> {
    let io = |operation| move |source| SocketError::Io { operation, path: path.to_owned(), source };
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(io("look at")(error)),
    };
    if !metadata.file_type().is_socket() {
        return Err(SocketError::NotASocket { path: path.to_owned() });
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(SocketError::InUse { path: path.to_owned() }),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            info!(socket = %path.display(), "replacing a socket on which nobody answers");
            fs::remove_file(path).map_err(io("remove the stale socket"))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        // A full backlog, a missing right: somebody may be there.
        Err(error) => Err(io("find out whether anybody answers on")(error)),
    }
}

fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}
