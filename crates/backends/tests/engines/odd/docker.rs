//! A Docker engine that answers soundly, but for one route.

use std::path::Path;

use dayfly_backends::docker::{Docker, DockerOptions};
use dayfly_core::{
    model::{ControllerId, RunnerName},
    ports::Backend,
};
use proptest::prelude::*;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
    task::JoinSet,
    time::timeout,
};

use super::accident::{Accident, CASES, TIME_MAX, accident, check};
use crate::suite::{controller, runner};

const ROUTES: [&str; 5] = ["/version", "/containers/json", "/json", "/logs", "/events"];

/// What is spoiled: the body of one route's answer, or the whole of it with its head.
#[derive(Debug, Clone)]
struct Spoiled {
    route: &'static str,
    whole: bool,
    accident: Accident,
}

fn sound(route: &str, controller: ControllerId, runner: &RunnerName) -> Vec<u8> {
    let labels = json!({ "dev.dayfly.controller": controller, "dev.dayfly.runner": runner });
    let framed = |stream: u8, text: &str| {
        let length = u32::try_from(text.len()).unwrap().to_be_bytes();
        [&[stream, 0, 0, 0], &length[..], text.as_bytes()].concat()
    };
    match route {
        "/version" => json!({ "ApiVersion": "1.41", "Version": "20.10" }).to_string().into_bytes(),
        "/containers/json" => {
            let of = |id: &str, state: &str, name: &str| {
                json!({ "Id": id, "Names": [format!("/{name}")], "Labels": labels, "State": state, "Created": 1_790_000_000 })
            };
            json!([of("aa", "running", runner.as_str()), of("bb", "exited", runner.as_str()), of("cc", "dead", "other")])
                .to_string()
                .into_bytes()
        }
        "/json" => json!({
            "Id": "bb", "Name": format!("/{runner}"), "Created": "2026-11-21T12:00:00Z", "Config": { "Labels": labels },
            "State": { "Status": "exited", "ExitCode": 7, "OOMKilled": false, "Error": "none" },
        })
        .to_string()
        .into_bytes(),
        "/logs" => [framed(1, "Listening for Jobs\nhalf a "), framed(2, "line\n")].concat(),
        _ => {
            let attributes = json!({
                "dev.dayfly.controller": controller, "dev.dayfly.runner": runner, "exitCode": "7", "name": runner,
            });
            let event = json!({
                "Type": "container", "Action": "die", "Actor": { "ID": "bb", "Attributes": attributes }, "time": 1_790_000_000,
            });
            format!("{event}\n").into_bytes()
        }
    }
}

fn route(path: &str) -> &'static str {
    let path = path.split('?').next().unwrap_or_default();
    ROUTES.into_iter().find(|route| path.ends_with(route)).unwrap_or("/version")
}

async fn answer(
    mut stream: UnixStream,
    spoiled: Spoiled,
    controller: ControllerId,
    runner: RunnerName,
) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let route = route(head.split(' ').nth(1).unwrap_or_default());
    let mut body = sound(route, controller, &runner);
    let is_spoiled = route == spoiled.route;
    if is_spoiled && !spoiled.whole {
        body = spoiled.accident.befall(&body);
    }
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let mut all = [head.as_bytes(), &body].concat();
    if is_spoiled && spoiled.whole {
        all = spoiled.accident.befall(&all);
    }
    let _ = stream.write_all(&all).await;
    let _ = stream.shutdown().await;
}

async fn ask(socket: &Path, spoiled: Spoiled) {
    let controller = controller();
    let runner = runner(controller);
    let listener = UnixListener::bind(socket).unwrap();
    let mut serving = JoinSet::new();
    let of = runner.clone();
    serving.spawn(async move {
        let mut answers = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            answers.spawn(answer(stream, spoiled.clone(), controller, of.clone()));
        }
    });
    let host = Some(format!("unix://{}", socket.display()));
    let docker =
        Docker::connect(&DockerOptions { host, ..DockerOptions::default() }, controller).unwrap();
    let asked = async {
        for record in check(docker.list().await).into_iter().flatten() {
            assert!(record.runner.as_str().len() <= 63, "{record:?}");
        }
        check(docker.inspect(&runner).await);
        let lines = check(docker.console(&runner).await).unwrap_or_default();
        assert!(lines.len() <= 200 && lines.iter().all(|line| line.chars().count() <= 500));
        check(docker.controllers().await);
        check(docker.version().await);
        // A stream that ends is an error of its own.
        let broke = docker.watch(&|| {}, &|_| {}).await;
        check(Err::<(), _>(broke));
    };
    timeout(TIME_MAX, asked).await.expect("in time");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_answer_of_docker_is_read_or_refused(
        route in prop::sample::select(ROUTES.to_vec()),
        whole in prop::bool::weighted(0.2),
        accident in accident(),
    ) {
        let home = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(ask(&home.path().join("docker.sock"), Spoiled { route, whole, accident }));
    }
}
