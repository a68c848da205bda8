//! Secrets show nowhere. Strings that stand nowhere else are put into every setting that can hold one, and looked for
//! in all that the process says, writes and sends.

use std::{collections::BTreeMap, fs, io::Write as _, net::TcpListener, path::Path, process::Output, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use market_data_store::{
    BroadcastConfig, Coordinator, Endpoint, MarketDataStore, Settings, WebhookSecret, sink::MemorySink,
};
use metrics_util::debugging::DebuggingRecorder;

use crate::{
    hook::{Hook, Reply, certificate, ok},
    mds::{SP500, ingest, mds},
    support::{PATIENCE, Tick, settings, within},
};

/// What only a secret is called. It holds signs that a URL and base64 write in another way.
fn canary(number: usize) -> String {
    format!("cAnArY+{number:02}/{:016x}", 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(number as u64 + 1))
}

/// As a part of a URL, where every sign of it that could mean something else is written with `%`.
fn in_url(canary: &str) -> String {
    canary.replace('+', "%2B").replace('/', "%2F")
}

/// A secret whose key is the canary.
fn as_secret(canary: &str) -> String {
    format!("whsec_{}", BASE64_STANDARD.encode(format!("{canary}.")))
}

/// What a canary can look like: as it is, written for a URL, and in base64, whatever stands before and after it.
fn guises(canary: &str) -> Vec<String> {
    let encoded = in_url(canary);
    let lower = encoded.replace("%2B", "%2b").replace("%2F", "%2f");
    let mut guises = vec![canary.to_owned(), encoded, lower];
    for text in [canary.to_owned(), in_url(canary)] {
        for before in 0..3 {
            // Only the digits that the canary alone decides.
            let padded = format!("{}{text}", "x".repeat(before));
            let digits = BASE64_STANDARD.encode(&padded);
            let (first, last) = ((before * 4).div_ceil(3), padded.len() * 4 / 3);
            guises.push(digits[first..last].to_owned());
            guises.push(digits[first..last].replace('+', "-").replace('/', "_"));
        }
    }
    guises
}

/// Which canaries stand in a text, with the line.
fn found(place: &str, bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    let mut found = Vec::new();
    for number in 0..CANARIES {
        for guise in guises(&canary(number)) {
            for line in text.lines().filter(|line| line.contains(&guise)) {
                found.push(format!("{number} as {guise} in {place}: {line}"));
            }
        }
    }
    found
}

const CANARIES: usize = 26;

fn said(place: &str, output: &Output) -> Vec<String> {
    [found(place, &output.stdout), found(place, &output.stderr)].concat()
}

/// Every file of a directory.
fn written(dir: &Path) -> Vec<String> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(written(&path));
        } else {
            all.extend(found(&path.display().to_string(), &fs::read(&path).unwrap()));
        }
    }
    all
}

/// The control: the search finds a canary in every guise, with anything around it.
#[test]
fn a_secret_that_shows_is_found() {
    let canary = canary(7);
    for before in ["", "a", "ab", "abc"] {
        for text in
            [canary.clone(), in_url(&canary), in_url(&canary).to_lowercase().replace(&canary.to_lowercase(), "")]
        {
            if !text.contains("cAnArY") {
                continue;
            }
            for shown in [text.clone(), BASE64_STANDARD.encode(format!("{before}{text}.after"))] {
                assert!(!found("here", format!("level=x {shown} y").as_bytes()).is_empty(), "{shown}");
            }
        }
    }
    assert_eq!(found("here", b"cAnArY+07/0000000000000000"), Vec::<String>::new());
}

/// Red when a line of the log, at any level and of any crate, holds a URL or a header of a request; when an error or
/// `mds config` shows a value as it was set; or when a payload carries one.
#[actix::test]
async fn no_secret_shows_in_what_mds_says_writes_or_sends() {
    let dir = tempfile::tempdir().unwrap();
    let ca = dir.path().join("ca.pem");
    let plain = Hook::start(|number| if number == 0 { Reply::Status(500, String::new()) } else { ok() });
    let moved = Hook::start(|_| Reply::Status(302, "location: http://127.0.0.1:9/elsewhere\r\n".to_owned()));
    let (server, pem) = certificate();
    fs::write(&ca, pem).unwrap();
    let tls = Hook::tls(server, |_| ok());
    let silent = Hook::start(|_| Reply::Silence);
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();

    let mut next = 0;
    let mut url = |scheme: &str, host: &str| {
        let part = |number| in_url(&canary(number));
        next += 4;
        let (user, password) = (part(next - 4), part(next - 3));
        format!("{scheme}://{user}:{password}@{host}/hooks/{}?token={}", part(next - 2), part(next - 1))
    };
    let urls = [
        url("http", &plain.address.to_string()),
        url("https", &format!("localhost:{}", tls.address.port())),
        url("http", &moved.address.to_string()),
        url("http", &silent.address.to_string()),
        url("http", &closed.to_string()),
    ];
    let secrets = [as_secret(&canary(20)), as_secret(&canary(21))];
    let environment: BTreeMap<&str, String> = [
        ("MDS_FB_ENABLE_HTTP_BROADCAST", "true".to_owned()),
        ("MDS_FB_HTTP_ENDPOINT", urls.join(",")),
        ("MDS_FB_HTTP_SECRET", secrets.join(",")),
        ("MDS_FB_HTTP_CA_FILE", ca.display().to_string()),
        ("MDS_FB_HTTP_TIMEOUT", "0.5".to_owned()),
        ("MDS_FB_HTTP_BACKOFF", "0.01".to_owned()),
        // A name that is mistyped may hold the secret.
        ("MDS_FB_HTTP_SECRETS", as_secret(&canary(22))),
        ("MDS_FB_HTTP_ENDPOINTS", format!("http://{}@h/", in_url(&canary(23)))),
    ]
    .into();
    let mut shown = Vec::new();

    for (filter, format) in [("trace", "text"), ("trace,awc=trace,actix_http=trace,h2=trace,rustls=trace", "json")] {
        let mut command = ingest(dir.path(), &["--symbol", "SPX", "--timeframe", "1d", SP500]);
        command.envs(&environment).env("MDS_LOG", filter).env("MDS_LOG_FORMAT", format);
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        let log = String::from_utf8_lossy(&output.stderr);
        assert!(log.contains("TRACE"), "the log is not at TRACE: {log}");
        shown.extend(said("the log", &output));
    }

    // The control: the secrets were in use.
    for (hook, first) in [(&plain, 0), (&tls, 4), (&moved, 8), (&silent, 12)] {
        let asked = hook.asked();
        let asked = asked.first().unwrap_or_else(|| panic!("no request with canary {first}"));
        let expected =
            format!("POST /hooks/{}?token={} HTTP/1.1", in_url(&canary(first + 2)), in_url(&canary(first + 3)));
        assert_eq!(asked.line, expected);
        let credentials = format!("{}:{}", canary(first), canary(first + 1));
        assert_eq!(asked.headers["authorization"], format!("Basic {}", BASE64_STANDARD.encode(credentials)));
        assert_eq!(asked.headers["webhook-signature"].split(' ').count(), 2);
    }
    for hook in [&plain, &tls, &moved, &silent] {
        for asked in hook.asked() {
            let other = asked.headers.iter().filter(|(name, _)| *name != "authorization");
            let other: String = other.map(|(name, value)| format!("{name}: {value}\n")).collect();
            shown.extend(found("a header", other.as_bytes()));
            shown.extend(found("a body", &asked.body));
        }
    }

    for args in [&["config"][..], &["config", "--json"]] {
        let output = mds(dir.path()).args(args).envs(&environment).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        shown.extend(said("mds config", &output));
    }

    let (key, password) = (canary(24), in_url(&canary(25)));
    for (name, value) in [
        ("MDS_FB_HTTP_SECRET", key.clone()),
        ("MDS_FB_HTTP_SECRET", format!("whsec_{key}")),
        ("MDS_FB_HTTP_SECRET", format!("whsec_{}", &BASE64_STANDARD.encode(&key)[..24])),
        ("MDS_FB_HTTP_SECRET", format!("{},{key}", secrets[0])),
        ("MDS_FB_HTTP_ENDPOINT", format!("ftp://{password}:{password}@h/{password}?{password}")),
        ("MDS_FB_HTTP_ENDPOINT", format!("http://h:0/{password}")),
        ("MDS_FB_HTTP_ENDPOINT", format!("http://h/#{password}")),
        ("MDS_FB_HTTP_ENDPOINT", format!("{password}@h/{password}")),
        ("MDS_FB_HTTP_ENDPOINT", format!("http://u:{key}@h/{key} {key}")),
        ("MDS_FB_HTTP_ENDPOINT", format!("{},https://h:port/{password}", urls[0])),
        ("MDS_DATABASE_URL", format!("mysql://ann:{key}@db:5432/bars")),
        ("MDS_DATABASE_URL", format!("mysql://db/bars?user=ann&password={password}")),
        ("MDS_DATABASE_URL", format!("postgres://ann:{key}@db:a/bars")),
        ("MDS_DATABASE_URL", format!("postgres://ann:{password}?{password}={password}@db/bars")),
        ("MDS_DATABASE_URL", format!("postgres://ann:{key}")),
        ("MDS_DATABASE_URL", format!("host=db user=ann password = '{key}' dbname=bars")),
    ] {
        let mut command = ingest(dir.path(), &["--symbol", "SPX", "--timeframe", "1d", SP500]);
        let output = command.envs(&environment).env(name, &value).env("MDS_LOG", "trace").output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(78), "{name}={value}: {text}");
        assert!(text.contains(name), "{name}={value}: {text}");
        shown.extend(said("an error", &output));
    }

    // A server that is not there.
    for url in [
        format!("postgres://ann:{password}@127.0.0.1:1/bars"),
        format!("postgres://127.0.0.1:1/bars?user=ann&password={password}"),
    ] {
        let mut command =
            ingest(dir.path(), &["--symbol", "SPX", "--timeframe", "1d", "--give-up-after", "1ms", SP500]);
        command.envs(&environment).env("MDS_DATABASE_URL", &url).env("MDS_CB_HALF_OPEN_AFTER_SEC", "0");
        let output = command.env("MDS_LOG", "trace").output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(69), "{url}: {text}");
        assert!(text.contains("postgres://127.0.0.1:1/bars: cannot open a connection"), "{url}: {text}");
        shown.extend(said("of a server that is away", &output));
    }

    shown.extend(written(dir.path()));
    assert_eq!(shown, Vec::<String>::new());
}

/// Red when what a file holds shows: in an error since it is no value, in `mds config`, or in a log.
#[test]
fn no_secret_of_a_file_shows() {
    let dir = tempfile::tempdir().unwrap();
    let part = |number| in_url(&canary(number));
    let (url, endpoint, secret) = ("MDS_DATABASE_URL_FILE", "MDS_FB_HTTP_ENDPOINT_FILE", "MDS_FB_HTTP_SECRET_FILE");
    let files = |values: [String; 3]| {
        let path = |name| dir.path().join("secrets").join(name);
        fs::create_dir_all(dir.path().join("secrets")).unwrap();
        [url, endpoint, secret].into_iter().zip(values).map(move |(name, value)| {
            fs::write(path(name), value).unwrap();
            (name, path(name))
        })
    };
    let run = |args: &[&str], files: &[(&str, std::path::PathBuf)]| {
        let mut command = mds(dir.path());
        command.args(args).env("MDS_LOG", "trace").env("MDS_FB_ENABLE_HTTP_BROADCAST", "true");
        command.envs(files.iter().cloned()).output().unwrap()
    };
    let load = ["ingest", "--symbol", "SPX", "--timeframe", "1d", "--give-up-after", "1ms", SP500];
    let mut shown = Vec::new();
    let good: Vec<_> = files([
        format!("postgres://{}:{}@127.0.0.1:1/bars?password={}\n", part(0), part(1), part(2)),
        format!("http://{}@127.0.0.1:1/{}?{}\n", part(3), part(4), part(5)),
        as_secret(&canary(6)),
    ])
    .collect();
    for (args, code) in [(&load[..], 69), (&["config"], 0), (&["config", "--json"], 0)] {
        let output = run(args, &good);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        shown.extend(said("what was right", &output));
    }
    let wrong: Vec<_> = files([7, 8, 9].map(canary)).collect();
    for args in [&load[..], &["config"]] {
        let output = run(args, &wrong);
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(78), "{args:?}: {text}");
        assert!([url, endpoint, secret].iter().all(|name| text.contains(name)), "{text}");
        shown.extend(said("what was wrong", &output));
    }
    fs::remove_dir_all(dir.path().join("secrets")).unwrap();
    shown.extend(written(dir.path()));
    assert_eq!(shown, Vec::<String>::new());
}

/// Red when a type that holds a secret shows it by `Debug` or in JSON, or when a metric has it in a label.
#[actix::test]
async fn no_secret_shows_in_what_the_library_hands_out() {
    let hook = Hook::start(|_| Reply::Status(500, String::new()));
    let part = |number| in_url(&canary(number));
    let url = format!("http://{}:{}@{}/{}?{}", part(0), part(1), hook.address, part(2), part(3));
    let secret = as_secret(&canary(4));
    let mut asking = Settings::from_vars([
        ("MDS_FB_ENABLE_HTTP_BROADCAST", "true"),
        ("MDS_FB_HTTP_ENDPOINT", &url),
        ("MDS_FB_HTTP_SECRET", &secret),
        ("MDS_FB_HTTP_BACKOFF", "0.01"),
    ])
    .unwrap();
    asking.dlq_path = settings().dlq_path;
    let mut config = BroadcastConfig::new([url.parse::<Endpoint>().unwrap()]);
    config.secrets = vec![secret.parse::<WebhookSecret>().unwrap()];
    let mut said = format!("{asking:?} {asking:#?} {config:?} {}", config.endpoints[0]);

    let recorder = DebuggingRecorder::new();
    let store = {
        let _recorder = metrics::set_default_local_recorder(&recorder);
        let coordinator = Coordinator::new(MemorySink::<Tick>::new());
        // On this thread, so that its recorder hears.
        MarketDataStore::builder(asking).coordinator(coordinator).on_current_arbiter().start().await.unwrap()
    };
    within(PATIENCE, hook.wait(2)).await;
    let urls = store.broadcasts();
    assert!(urls[0].failed > 0, "{urls:?}");
    said += &format!("{urls:?} {} {store:?}", serde_json::to_string(&urls).unwrap());
    for (key, ..) in recorder.snapshotter().snapshot().into_vec() {
        said += &format!("{key:?}");
    }
    assert!(said.contains("mds_webhook_deliveries_total"), "{said}");
    assert!(said.contains(&hook.address.to_string()), "{said}");
    within(PATIENCE, store.shutdown(Duration::ZERO)).await;
    assert_eq!(found("the library", said.as_bytes()), Vec::<String>::new());
    std::io::stdout().flush().unwrap();
}
