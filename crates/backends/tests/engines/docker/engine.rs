//! The engine of the tests, and the image that they make for it.

use std::{cell::RefCell, fs, os::unix::fs::symlink, path::Path, process::Command};

use bytes::Bytes;
use dayfly_backends::docker::{Docker, DockerOptions};
use dayfly_core::model::{ControllerId, InstanceSpec, PullPolicy};

use crate::suite::{RUNNER, controller};

/// The image of the tests: busybox alone.
pub const IMAGE: &str = "localhost/dayfly-test/busybox:1";

pub fn connect(controller: ControllerId) -> Docker {
    Docker::connect(&DockerOptions::default(), controller).unwrap()
}

/// Runs a test and then removes the containers of its controllers, also where it failed.
#[derive(Default)]
pub struct Sweep {
    controllers: RefCell<Vec<ControllerId>>,
}

impl Sweep {
    /// A backend whose containers are removed at the end.
    pub fn connect(&self, controller: ControllerId) -> Docker {
        self.controllers.borrow_mut().push(controller);
        connect(controller)
    }

    /// A backend of a new controller, with the test image.
    pub async fn ready(&self) -> Docker {
        let docker = self.connect(controller());
        image(&docker).await;
        docker
    }
}

impl Drop for Sweep {
    fn drop(&mut self) {
        for controller in self.controllers.take() {
            let label = format!("label=dev.dayfly.controller={controller}");
            let left = cli(&["ps", "-aq", "--filter", &label]);
            for id in left.split_whitespace() {
                cli(&["rm", "-fv", id]);
            }
            if !left.is_empty() && !std::thread::panicking() {
                panic!("containers were left behind: {left}");
            }
        }
    }
}

/// Asks the engine as its own program does.
pub fn cli(arguments: &[&str]) -> String {
    let output = Command::new("docker").args(arguments).output().unwrap();
    assert!(
        output.status.success(),
        "docker {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// Makes the image unless the engine has it.
pub async fn image(docker: &Docker) {
    if !docker.has_image(IMAGE).await.unwrap() {
        docker.import_image(IMAGE, root_file_system(), "/home/runner").await.unwrap();
    }
}

/// A tar archive of busybox and its shell.
pub fn root_file_system() -> Bytes {
    let root = tempfile::tempdir().unwrap();
    let bin = root.path().join("bin");
    fs::create_dir_all(&bin).unwrap();
    fs::create_dir_all(root.path().join("home/runner")).unwrap();
    fs::create_dir_all(root.path().join("tmp")).unwrap();
    let busybox =
        ["/bin/busybox", "/usr/bin/busybox"].map(Path::new).into_iter().find(|path| path.exists());
    fs::copy(busybox.expect("busybox-static is needed for this test"), bin.join("busybox"))
        .unwrap();
    for name in ["sh", "sleep", "cat", "env", "head", "dd", "tail"] {
        symlink("busybox", bin.join(name)).unwrap();
    }
    let tar = Command::new("tar").arg("-C").arg(root.path()).args(["-c", "."]).output().unwrap();
    assert!(tar.status.success(), "{tar:?}");
    tar.stdout.into()
}

/// An instance of the test image that runs a shell script.
pub fn shell(script: &str) -> InstanceSpec {
    InstanceSpec {
        image: IMAGE.to_owned(),
        pull: PullPolicy::Never,
        command: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
        ..InstanceSpec::default()
    }
}

/// An instance that keeps the contract suite's script.
pub fn contract() -> InstanceSpec {
    shell(RUNNER)
}
