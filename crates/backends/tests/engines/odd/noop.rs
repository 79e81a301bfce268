//! A process that holds noop instances, and answers anything.

use std::path::Path;

use dayfly_backends::noop::Noop;
use dayfly_core::{model::RunnerName, ports::Backend};
use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
    task::JoinSet,
    time::timeout,
};

use super::accident::{Accident, CASES, TIME_MAX, accident, check};
use crate::suite::{controller, jit, runner};

/// Answers each call soundly but for the accident, and hangs up.
async fn answer(stream: UnixStream, runner: RunnerName, accident: Accident) {
    let (read, mut write) = stream.into_split();
    let mut text = String::new();
    if BufReader::new(read).read_line(&mut text).await.is_err() {
        return;
    }
    let asked: Value = serde_json::from_str(&text).unwrap_or_default();
    let exit = json!({ "code": 7, "out_of_memory": false, "error": null, "last_output": ["done"] });
    let records = json!({ "records": [{ "runner": runner }, { "runner": runner, "exit": exit }] });
    let result = match &asked["call"] {
        Value::String(call) if call == "list" => records,
        Value::Object(call) if call.contains_key("inspect") => records,
        Value::Object(call) if call.contains_key("create") => {
            json!({ "created": { "ended": false } })
        }
        _ => json!("done"),
    };
    let told = json!({ "answer": { "id": asked["id"], "result": { "Ok": result } } });
    let mut line = accident.befall(told.to_string().as_bytes());
    line.push(b'\n');
    let event = json!({ "event": { "ended": [runner, exit] } });
    line.extend(accident.befall(event.to_string().as_bytes()));
    line.push(b'\n');
    let _ = write.write_all(&line).await;
    let _ = write.shutdown().await;
}

async fn ask(socket: &Path, accident: Accident) {
    let controller = controller();
    let runner = runner(controller);
    let listener = UnixListener::bind(socket).unwrap();
    let mut serving = JoinSet::new();
    let of = runner.clone();
    serving.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            answer(stream, of.clone(), accident.clone()).await;
        }
    });
    let noop = Noop::connect(socket, controller);
    let asked = async {
        let id = dayfly_core::model::InstanceId("it".into());
        check(noop.list().await);
        check(noop.inspect(&runner).await);
        check(noop.controllers().await);
        check(noop.console(&runner).await);
        check(noop.hand_over(&runner, &id, jit("quick")).await);
        check(noop.destroy(&runner, false).await);
        check(Err::<(), _>(noop.watch(&|| {}, &|_| {}).await));
    };
    timeout(TIME_MAX, asked).await.expect("in time");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_answer_of_the_host_is_read_or_refused(accident in accident()) {
        let home = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(ask(&home.path().join("noop.sock"), accident));
    }
}
