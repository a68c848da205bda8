//! Webhooks of the real binary: what the environment asks for, what shows of it, and what the end waits for.

use std::{
    fs,
    net::TcpListener,
    time::{Duration, Instant},
};

use market_data_store::{Level, Reason};

use crate::{
    hook::{Asked, Hook, Reply, certificate, ok},
    mds::{Running, SP500, count, ingest, mds, stderr, stdout, summary},
};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const LOAD: [&str; 6] = ["--symbol", "SPX", "--timeframe", "1d", "--json", SP500];

/// Red when the environment is not followed, or the log shows a secret or more of a URL than scheme, host and port.
#[test]
fn a_load_is_told_by_webhook_and_nothing_secret_is_logged() {
    let dir = tempfile::tempdir().unwrap();
    let (server, pem) = certificate();
    fs::write(dir.path().join("ca.pem"), pem).unwrap();
    let plain = Hook::start(|number| if number == 0 { Reply::Status(500, String::new()) } else { ok() });
    let tls = Hook::tls(server, |number| if number == 0 { Reply::Status(500, String::new()) } else { ok() });
    let secrets = "S3CRETUSER:S3CRETPASS@";
    let path = "/S3CRETPATH?key=S3CRETKEY";
    let urls =
        format!("http://{secrets}{}{path}, https://{secrets}localhost:{}{path}", plain.address, tls.address.port());
    let mut command = ingest(dir.path(), &LOAD);
    command.env("MDS_FB_ENABLE_HTTP_BROADCAST", "true").env("MDS_FB_HTTP_ENDPOINT", urls).env("MDS_LOG", "trace");
    command.env("MDS_FB_HTTP_SECRET", SECRET).env("MDS_FB_HTTP_CA_FILE", "ca.pem").env("MDS_SOURCE", "db1:load");
    let output = command.output().unwrap();
    let log = stderr(&output);
    assert_eq!((output.status.code(), count(&summary(&output), "stored")), (Some(0), 5031), "{log}");
    for hook in [plain, tls] {
        let asked = hook.asked();
        let events: Vec<_> = asked.iter().map(Asked::event).collect();
        assert!(events.len() >= 2 && events.iter().all(|event| &*event.source == "db1:load"), "{events:?}");
        let last = events.last().unwrap();
        assert_eq!(last.level, Level::Ok, "{last:?}");
        assert_ne!(last.reason, Reason::Draining);
        let is_right = |asked: &Asked| {
            asked.line == format!("POST {path} HTTP/1.1") && asked.headers["webhook-signature"].starts_with("v1,")
        };
        assert!(asked.iter().all(is_right), "{asked:?}");
    }
    assert!(log.contains("TRACE"), "the log shows everything: {log}");
    let key = SECRET.strip_prefix("whsec_").unwrap();
    // What is sent for user and password: a log of whole heads would show it.
    for secret in ["S3CRET", key, "UzNDUkVU"] {
        assert!(!log.contains(secret), "{secret} in {log}");
    }
}

/// Red when a URL that is away changes how a load ends.
#[test]
fn urls_that_are_away_change_no_exit_code() {
    let dir = tempfile::tempdir().unwrap();
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let hole = Hook::start(|_| Reply::Silence);
    let gone = Hook::start(|_| Reply::Status(410, String::new()));
    let urls = format!("http://{},http://{},http://{}", free.local_addr().unwrap(), hole.address, gone.address);
    drop(free);
    let mut command = ingest(dir.path(), &LOAD);
    command.env("MDS_FB_ENABLE_HTTP_BROADCAST", "true").env("MDS_FB_HTTP_ENDPOINT", urls);
    let output = command.output().unwrap();
    assert_eq!((output.status.code(), count(&summary(&output), "stored")), (Some(0), 5031), "{}", stderr(&output));
}

/// Red when the end waits for webhooks beyond five seconds after its deadline.
#[cfg(unix)]
#[test]
fn a_process_with_a_dead_url_is_gone_in_time() {
    let dir = tempfile::tempdir().unwrap();
    let hole = Hook::start(|_| Reply::Silence);
    let mut command = ingest(dir.path(), &["--json", "-"]);
    command.env("MDS_FB_ENABLE_HTTP_BROADCAST", "true").env("MDS_FB_HTTP_ENDPOINT", format!("http://{}", hole.address));
    command.env("MDS_FB_HTTP_TIMEOUT", "1h").env("MDS_SHUTDOWN_TIMEOUT", "0.3");
    let running = Running::start(command);
    // The store runs and its first event is on the way.
    futures::executor::block_on(hook_is_asked(&hole));
    let begin = Instant::now();
    running.signal("TERM");
    let (status, summary) = running.end();
    let took = begin.elapsed();
    assert_eq!((status.code(), count(&summary, "read")), (Some(143), 0));
    assert!(took < Duration::from_millis(5_300), "{took:?}");
}

async fn hook_is_asked(hook: &Hook) {
    hook.wait(1).await;
}

/// Red when the table shows a secret, or an environment that contradicts itself starts.
#[test]
fn the_configuration_shows_no_secret_and_what_is_wrong_is_told_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let config = |vars: &[(&str, &str)]| mds(dir.path()).arg("config").envs(vars.iter().copied()).output().unwrap();
    let url = "https://ann:S3CRET@hooks.example/S3CRET?key=S3CRET,http://[::1]:9/S3CRET";
    let two = format!("{SECRET},{SECRET}");
    let output = config(&[("MDS_FB_HTTP_ENDPOINT", url), ("MDS_FB_HTTP_SECRET", &two)]);
    let said = "warning: MDS_FB_HTTP_ENDPOINT is set, but MDS_FB_ENABLE_HTTP_BROADCAST is false: level changes are sent to \
                no URL\n";
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), said));
    let text = stdout(&output);
    let row = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap();
        line.split_whitespace().skip(1).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(row("MDS_FB_HTTP_ENDPOINT"), "https://hooks.example:443,http://[::1]:9 environment");
    assert_eq!(row("MDS_FB_HTTP_SECRET"), "***,*** environment");
    assert_eq!(row("MDS_FB_HTTP_CA_FILE"), "default");

    let on = ("MDS_FB_ENABLE_HTTP_BROADCAST", "true");
    let some = ("MDS_FB_HTTP_ENDPOINT", "http://127.0.0.1:9");
    for (vars, message) in [
        (&[on][..], "MDS_FB_HTTP_ENDPOINT is not set, expected a URL, since MDS_FB_ENABLE_HTTP_BROADCAST is true"),
        (
            &[on, ("MDS_FB_HTTP_ENDPOINT", " , ")],
            "MDS_FB_HTTP_ENDPOINT is not set, expected a URL, since MDS_FB_ENABLE_HTTP_BROADCAST is true",
        ),
        (
            &[on, some, ("MDS_FB_ENABLE_FEEDBACK", "false")],
            "MDS_FB_ENABLE_HTTP_BROADCAST is true, expected false, since MDS_FB_ENABLE_FEEDBACK is false",
        ),
        (
            &[("MDS_FB_HTTP_ENDPOINT", "http://a:1/S3CRET,http://b:x/S3CRET,S3CRET")],
            "MDS_FB_HTTP_ENDPOINT is \"http://a:1,<its port is not a number from 1 to 65535>,\
             <it does not begin with http:// or https://>\", \
             expected http:// or https:// and a host, or several of these with commas",
        ),
        (
            &[("MDS_FB_HTTP_SECRET", "S3CRET")],
            "MDS_FB_HTTP_SECRET is \"***\", expected whsec_ and the base64 of 24 to 64 bytes, \
             or several of these with commas",
        ),
        (
            &[("MDS_FB_HTTP_MAX_RETRIES", "0")],
            "MDS_FB_HTTP_MAX_RETRIES is \"0\", expected a whole number from 1 to 1000000",
        ),
    ] {
        let output = config(vars);
        assert_eq!((output.status.code(), stderr(&output)), (Some(78), format!("error: {message}\n")));
    }

    let mut command = ingest(dir.path(), &LOAD);
    command.envs([on, some]).env("MDS_FB_HTTP_CA_FILE", "nowhere.pem");
    let output = command.output().unwrap();
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(78), "{said}");
    let begin = "error: MDS_FB_HTTP_CA_FILE is \"nowhere.pem\", expected a file of certificates in PEM: ";
    assert!(said.starts_with(begin), "{said}");
    assert!(!dir.path().join("market_data.db").exists() || crate::mds::rows(dir.path()) == 0);
}
