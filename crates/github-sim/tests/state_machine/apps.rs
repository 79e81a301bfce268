//! GitHub Apps: signed requests, installations, installation tokens.

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use crate::driver::Driver;

struct App {
    driver: Driver,
    id: Value,
    client_id: String,
    key: EncodingKey,
    installation: i64,
}

fn app(permissions: Option<Value>) -> App {
    let mut driver = Driver::new();
    driver.control("scopes", json!({ "path": "someone/own" }));
    driver.control("scopes", json!({ "path": "someone", "kind": "user" }));
    let mut spec = json!({ "type": "app", "installations": ["acme"] });
    if let Some(permissions) = permissions {
        spec["permissions"] = permissions;
    }
    let made = driver.control("credentials", spec);
    let key = EncodingKey::from_rsa_pem(made["private_key"].as_str().unwrap().as_bytes()).unwrap();
    App {
        driver,
        id: made["app_id"].clone(),
        client_id: made["client_id"].as_str().unwrap().to_owned(),
        key,
        installation: made["installations"]["acme"].as_i64().unwrap(),
    }
}

impl App {
    fn jwt(&self, issuer: &Value, issued: i64, expires: i64) -> String {
        let now = self.driver.now.as_second();
        let claims = json!({ "iss": issuer, "iat": now + issued, "exp": now + expires });
        format!(
            "Bearer {}",
            jsonwebtoken::encode(&Header::new(Algorithm::RS256), &claims, &self.key).unwrap()
        )
    }

    fn good(&self) -> String {
        self.jwt(&json!(self.client_id), -60, 480)
    }

    fn token(&mut self) -> Value {
        let authorization = self.good();
        let path = format!("/api/v3/app/installations/{}/access_tokens", self.installation);
        self.driver.call("POST", &path, &authorization, &Value::Null).ok(201)
    }
}

#[test]
fn it_has_one_webhook_of_its_own() {
    let mut app = app(None);
    let signed = app.good();
    let config = "/api/v3/app/hook/config";
    let call = |app: &mut App, method: &str, path: &str, body: &Value| {
        app.driver.call(method, path, &signed, body)
    };
    assert_eq!(call(&mut app, "GET", config, &Value::Null).ok(200)["url"], Value::Null);
    assert_eq!(
        call(&mut app, "GET", "/api/v3/app/hook/deliveries", &Value::Null).ok(200),
        json!([])
    );
    let bad = json!({ "url": "nowhere", "content_type": "json" });
    assert_eq!(call(&mut app, "PATCH", config, &bad).status, 422);
    let good = json!({ "url": "http://here.test/app", "content_type": "json", "secret": "s3cret" });
    let shown = json!({ "url": "http://here.test/app", "content_type": "json", "insecure_ssl": "0", "secret": "********" });
    assert_eq!(call(&mut app, "PATCH", config, &good).ok(200), shown);
    // The secret stays where only the address is new.
    let moved = json!({ "url": "http://here.test/app" });
    assert_eq!(call(&mut app, "PATCH", config, &moved).ok(200), shown);
    let token = app.driver.pat.clone();
    let refused = app.driver.call("GET", config, &format!("Bearer {token}"), &Value::Null);
    assert_eq!(refused.status, 401, "not by a token");

    // It sends what the App is subscribed to, of the owners where it is installed.
    let queue = |app: &mut App, scope: &str| {
        app.driver.control("jobs", json!({ "scope": scope, "labels": ["x"] }));
        app.driver.sim.take_deliveries(10)
    };
    assert!(queue(&mut app, "acme/app").is_empty(), "it is subscribed to nothing");
}

#[test]
fn its_webhook_tells_of_jobs_where_it_is_installed() {
    let mut driver = Driver::new();
    driver.control("scopes", json!({ "path": "someone/own" }));
    let spec = json!({ "type": "app", "installations": ["acme"], "events": ["workflow_job"] });
    let made = driver.control("credentials", spec);
    let installation = made["installations"]["acme"].as_i64().unwrap();
    let key = EncodingKey::from_rsa_pem(made["private_key"].as_str().unwrap().as_bytes()).unwrap();
    let client_id = made["client_id"].as_str().unwrap().to_owned();
    let mut app = App { id: made["app_id"].clone(), driver, client_id, key, installation };
    let signed = app.good();
    let config =
        json!({ "url": "http://here.test/app", "content_type": "json", "secret": "s3cret" });
    app.driver.call("PATCH", "/api/v3/app/hook/config", &signed, &config).ok(200);
    app.driver.control("jobs", json!({ "scope": "someone/own", "labels": ["x"] }));
    app.driver.control("jobs", json!({ "scope": "acme/app", "labels": ["x"] }));
    let due = app.driver.sim.take_deliveries(10);
    let [outgoing] = due.as_slice() else { panic!("{due:?}") };
    let headers = outgoing.request.headers();
    assert_eq!(headers["x-github-hook-installation-target-type"], "integration");
    assert_eq!(headers["x-github-hook-installation-target-id"], app.id.to_string().as_str());
    assert!(headers.contains_key("x-hub-signature-256"));
    let payload: Value = serde_json::from_slice(outgoing.request.body()).unwrap();
    assert_eq!(payload["installation"]["id"], app.installation);
    assert_eq!(payload["repository"]["full_name"], "acme/app");
    let (id, now) = (outgoing.id, app.driver.now);
    app.driver.sim.delivered(now, id, Some(503));

    let list = "/api/v3/app/hook/deliveries";
    let listed = app.driver.call("GET", list, &signed, &Value::Null).ok(200);
    assert_eq!((&listed[0]["status_code"], listed.as_array().unwrap().len()), (&json!(503), 1));
    assert_eq!(listed[0]["installation_id"], app.installation);
    let one = format!("{list}/{}", listed[0]["id"]);
    let shown = app.driver.call("GET", &one, &signed, &Value::Null).ok(200);
    assert_eq!(shown["request"]["payload"], payload);
    app.driver.call("POST", &format!("{one}/attempts"), &signed, &Value::Null).ok(202);
    let again = app.driver.sim.take_deliveries(10);
    assert_eq!(
        again[0].request.headers()["x-github-delivery"],
        listed[0]["guid"].as_str().unwrap()
    );
}

#[test]
fn the_jwt_is_checked() {
    let mut app = app(None);
    let client = json!(app.client_id);
    for (issuer, issued, expires, status) in [
        (client.clone(), -60, 480, 200),
        (app.id.clone(), -60, 480, 200),
        (json!(app.id.to_string()), -60, 480, 200),
        (client.clone(), 30, 480, 401),
        (client.clone(), -60, 0, 401),
        (client.clone(), -60, 601, 401),
        (json!("Iv1.unknown"), -60, 480, 401),
    ] {
        let authorization = app.jwt(&issuer, issued, expires);
        let got = app.driver.call("GET", "/app", &authorization, &Value::Null);
        assert_eq!(got.status, status, "{issuer} {issued} {expires}: {}", got.body);
    }
    let mut forged = app.good();
    forged.replace_range(forged.len() - 8.., "AAAAAAAA");
    assert_eq!(app.driver.call("GET", "/app", &forged, &Value::Null).status, 401);
    let pat = format!("Bearer {}", app.driver.pat);
    assert_eq!(app.driver.call("GET", "/app", &pat, &Value::Null).status, 401);
}

#[test]
fn installations_are_found_by_scope() {
    let mut app = app(None);
    let authorization = app.good();
    for (path, found) in [
        ("/orgs/acme/installation", true),
        ("/orgs/ACME/installation", true),
        ("/repos/acme/app/installation", true),
        ("/users/acme/installation", false),
        ("/orgs/someone/installation", false),
        ("/repos/someone/own/installation", false),
        ("/orgs/nobody/installation", false),
    ] {
        let got = app.driver.call("GET", path, &authorization, &Value::Null);
        assert_eq!(got.status, if found { 200 } else { 404 }, "{path}");
        if found {
            assert_eq!(got.body["id"], app.installation);
        }
    }
    let all = app.driver.call("GET", "/app/installations", &authorization, &Value::Null).ok(200);
    assert_eq!(all.as_array().unwrap().len(), 1);
}

#[test]
fn an_installation_token_reaches_its_owner_for_an_hour() {
    let mut app = app(None);
    let made = app.token();
    assert!(made["token"].as_str().unwrap().starts_with("ghs_"));
    assert_eq!(made["expires_at"], "2026-01-01T01:00:00Z");
    app.driver.pat = made["token"].as_str().unwrap().to_owned();
    app.driver.control("scopes", json!({ "path": "other" }));
    app.driver.control("scopes", json!({ "path": "enterprises/big" }));
    for (path, status) in [
        ("/orgs/acme/actions/runners/registration-token", 201),
        ("/repos/acme/app/actions/runners/registration-token", 201),
        ("/orgs/other/actions/runners/registration-token", 404),
        ("/enterprises/big/actions/runners/registration-token", 404),
    ] {
        assert_eq!(app.driver.rest("POST", path, &Value::Null).status, status, "{path}");
    }
    app.driver.pass(3600);
    assert_eq!(app.driver.rest("GET", "/orgs/acme/actions/runners", &Value::Null).status, 401);
}

#[test]
fn a_missing_permission_is_named() {
    let mut app = app(Some(json!({ "administration": "read", "metadata": "read" })));
    let made = app.token();
    assert_eq!(made["permissions"], json!({ "administration": "read", "metadata": "read" }));
    app.driver.pat = made["token"].as_str().unwrap().to_owned();
    app.driver.rest("GET", "/repos/acme/app/actions/runners", &Value::Null).ok(200);
    for (path, permission) in [
        ("/repos/acme/app/actions/runners/registration-token", "administration=write"),
        ("/orgs/acme/actions/runners/registration-token", "organization_self_hosted_runners=write"),
    ] {
        let got = app.driver.rest("POST", path, &Value::Null);
        assert_eq!((got.status, got.header("x-accepted-github-permissions")), (403, permission));
        assert_eq!(got.body["message"], "Resource not accessible by integration");
    }
}

#[test]
fn a_token_can_be_narrowed_but_not_widened() {
    let mut app = app(None);
    let path = format!("/app/installations/{}/access_tokens", app.installation);
    let authorization = app.good();
    let narrow = json!({ "permissions": { "actions": "read" } });
    let made = app.driver.call("POST", &path, &authorization, &narrow).ok(201);
    assert_eq!(made["permissions"], json!({ "actions": "read" }));
    let wide = json!({ "permissions": { "contents": "write" } });
    assert_eq!(app.driver.call("POST", &path, &authorization, &wide).status, 422);
    assert_eq!(
        app.driver
            .call("POST", "/app/installations/1/access_tokens", &authorization, &Value::Null)
            .status,
        404
    );
}
