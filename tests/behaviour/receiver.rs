//! The receiver of feedback behind a real HTTP server, against requests that are good, forged, late, cut and repeated;
//! and the signatures, ours and others', checked by the official package of their scheme.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use actix_web::{
    App, HttpServer,
    dev::{Payload, ServerHandle},
    error::PayloadError,
    test as service,
    web::Bytes,
};
use futures::{
    StreamExt,
    stream::{self, LocalBoxStream},
};
use market_data_store::{
    EventBody, Feedback, FeedbackEvent, Level, Reason, Receiver, WebhookSecret,
    feedback::EventSeries,
    feedback::{
        ReceiverSnapshot,
        signature::{SignedHeaders, sign, unix_now},
    },
    testing::Webhook,
};
use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use serde_json::{Value, json};

use crate::support::{PATIENCE, log, record, within};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const OTHER: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

fn secrets(texts: &[&str]) -> Vec<WebhookSecret> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

/// A server with a receiver at `/feedback`, as a producer would have one, with two threads.
struct Served {
    receiver: Receiver,
    feedback: Feedback,
    url: String,
    server: ServerHandle,
    client: awc::Client,
}

impl Served {
    async fn start(receiver: Receiver) -> Self {
        let app = {
            let receiver = receiver.clone();
            move || App::new().service(receiver.at("/feedback"))
        };
        let server = HttpServer::new(app).workers(2).disable_signals().bind(("127.0.0.1", 0)).unwrap();
        let url = format!("http://{}/feedback", server.addrs()[0]);
        let server = server.run();
        let handle = server.handle();
        actix::spawn(server);
        let client = awc::Client::builder().timeout(PATIENCE).finish();
        Self { feedback: receiver.feedback().clone(), receiver, url, server: handle, client }
    }

    async fn signed() -> Self {
        Self::start(Receiver::signed(Feedback::private(), secrets(&[SECRET]))).await
    }

    fn request(&self, headers: &[(&'static str, String)]) -> awc::ClientRequest {
        headers
            .iter()
            .fold(self.client.post(&self.url), |request, (name, value)| request.insert_header((*name, &**value)))
    }

    /// Posts a message; returns the status and the text of the answer.
    async fn post(&self, message: &Webhook) -> (u16, String) {
        answered(self.request(&message.headers).send_body(message.body.clone())).await
    }

    async fn stop(self) {
        self.server.stop(false).await;
    }
}

async fn answered(sent: awc::SendClientRequest) -> (u16, String) {
    let mut response = sent.await.unwrap();
    let text = response.body().await.unwrap();
    (response.status().as_u16(), String::from_utf8(text.to_vec()).unwrap())
}

/// What becomes of a message whose headers were changed.
fn with_header(message: &Webhook, name: &str, value: Option<&str>) -> Webhook {
    let mut changed = message.clone();
    for (known, old) in &mut changed.headers {
        if *known == name {
            match value {
                Some(value) => *old = value.to_owned(),
                None => *known = "x-nothing",
            }
        }
    }
    changed
}

/// A message that was signed for another time.
fn signed_at(event: &FeedbackEvent, timestamp: u64) -> Webhook {
    let message = Webhook::new(&secrets(&[SECRET]), event);
    let signature = sign(&secrets(&[SECRET]), &event.id, timestamp, message.body.as_bytes());
    let message = with_header(&message, SignedHeaders::TIMESTAMP, Some(&timestamp.to_string()));
    with_header(&message, SignedHeaders::SIGNATURE, Some(&signature))
}

/// A message of any body.
fn signed_body(id: &str, body: String) -> Webhook {
    let now = unix_now();
    let signature = sign(&secrets(&[SECRET]), id, now, body.as_bytes());
    let headers = [
        ("content-type", "application/json".into()),
        (SignedHeaders::ID, id.into()),
        (SignedHeaders::TIMESTAMP, now.to_string()),
        (SignedHeaders::SIGNATURE, signature),
    ];
    Webhook { headers, body }
}

/// 9,000 connections with an old timestamp held 1.3 GB. Red when a body is waited for, or a connection kept, though the
/// head alone is refused.
#[actix::test]
async fn what_the_head_alone_refuses_holds_nothing() {
    let served = Served::signed().await;
    let event = EventSeries::new("bars").next(Level::Hard);
    let old = signed_at(&event, unix_now() - 310);
    let unsigned = with_header(&old, SignedHeaders::SIGNATURE, None);
    let young = signed_at(&event, unix_now());
    let address = served.url.trim_start_matches("http://").split('/').next().unwrap().to_owned();
    for (message, length, status) in [(&old, 8_000, 401), (&unsigned, 8_000, 401), (&young, 8_193, 413)] {
        let mut head = format!("POST /feedback HTTP/1.1\r\nhost: {address}\r\ncontent-length: {length}\r\n");
        for (name, value) in &message.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let address = address.clone();
        let asked = actix_web::rt::task::spawn_blocking(move || {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            // No body comes.
            stream.write_all(format!("{head}\r\n").as_bytes()).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer
        });
        let answer = asked.await.unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
    }
    served.stop().await;
}

/// Red when anything but the two good events reaches the bus, when an answer tells a sender to try again in vain or to
/// give up too soon, or when a secret or what was sent gets into the log.
#[actix::test]
async fn only_what_is_signed_young_whole_and_new_is_published() {
    log();
    let served = Served::signed().await;
    let events = record(&served.feedback, None);
    let known = secrets(&[SECRET]);
    let mut bars = EventSeries::new("bars").source("db1");
    let (older, first, second) = (bars.next(Level::Ok), bars.next(Level::Soft), bars.next(Level::Hard));
    let mut expected = ReceiverSnapshot::default();

    let good = Webhook::new(&known, &first);
    assert_eq!(served.post(&good).await, (204, String::new()));
    expected.accepted += 1;
    assert_eq!(served.post(&good).await, (200, "repeated".into()));
    expected.repeated += 1;
    assert_eq!(served.post(&Webhook::new(&known, &older)).await, (200, "stale".into()));
    expected.stale += 1;

    // None of these may pass, though the event in them is new.
    let new = Webhook::new(&known, &second);
    assert_eq!(served.post(&Webhook::new(&secrets(&[OTHER]), &second)).await.0, 401);
    assert_eq!(served.post(&with_header(&new, SignedHeaders::ID, Some("evt_other"))).await.0, 401);
    assert_eq!(served.post(&signed_body("evt.other", new.body.clone())).await.0, 401);
    assert_eq!(served.post(&with_header(&new, SignedHeaders::SIGNATURE, Some("v1,CANARY"))).await.0, 401);
    assert_eq!(served.post(&Webhook { body: new.body.replace("hard", "soft"), ..new.clone() }).await.0, 401);
    for name in [SignedHeaders::ID, SignedHeaders::TIMESTAMP, SignedHeaders::SIGNATURE] {
        let (status, text) = served.post(&with_header(&new, name, None)).await;
        assert!(status == 401 && text.contains(name), "{status} {text}");
    }
    expected.bad_signature += 8;
    let now = unix_now();
    assert_eq!(served.post(&signed_at(&second, now - 310)).await.0, 401);
    assert_eq!(served.post(&signed_at(&second, now + 330)).await.0, 401);
    assert_eq!(served.post(&with_header(&new, SignedHeaders::TIMESTAMP, Some("soon"))).await.0, 401);
    expected.bad_timestamp += 3;
    for wrong in ["", "{", "[]", "{}", r#"{"level":"CANARY"}"#] {
        let (status, text) = served.post(&signed_body("evt_json", wrong.to_owned())).await;
        assert_eq!(status, 400, "{text}");
        expected.malformed += 1;
    }
    let padded = |length: usize| format!("{}{}", new.body, " ".repeat(length - new.body.len()));
    assert_eq!(served.post(&signed_body(&second.id, padded(8 * 1024 + 1))).await.0, 413);
    // A length that is not said beforehand.
    let pieces = stream::iter(vec![bytes(&padded(8 * 1024)), bytes(" ")]).map(Ok::<_, std::io::Error>);
    assert_eq!(answered(served.request(&new.headers).send_stream(pieces)).await.0, 413);
    expected.too_large += 2;
    assert_eq!(answered(served.client.get(&served.url).send()).await.0, 405);
    assert_eq!(answered(served.client.post(format!("{}/other", served.url)).send()).await.0, 404);

    // It still is new: nothing of what was refused has been remembered.
    assert_eq!(served.post(&signed_body(&second.id, padded(8 * 1024))).await.0, 204);
    expected.accepted += 1;
    let older_epoch = EventBody { epoch: first.epoch - 1, seq: 99, id: "evt_99".into(), ..EventBody::clone(&second) };
    assert_eq!(served.post(&Webhook::new(&known, &older_epoch.into())).await, (200, "stale".into()));
    expected.stale += 1;

    within(PATIENCE, served.feedback.idle()).await;
    assert_eq!(*events.lock(), [first.clone(), second.clone()], "unchanged, and in their order");
    expected.coordinators = 1;
    assert_eq!(served.receiver.snapshot(), expected);
    let lines = log();
    let refusals: Vec<_> = lines.iter().filter(|line| line.contains("feedback refused")).collect();
    assert!(!refusals.is_empty(), "{lines:#?}");
    // Other tests of this binary have receivers too, so only what cannot be theirs is counted: one line a kind.
    assert!(refusals.iter().filter(|line| line.contains("bad_signature")).count() < 8, "{refusals:#?}");
    for secret in ["MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "CANARY", &second.id] {
        assert!(!lines.iter().any(|line| line.contains(secret)), "{secret} is in {lines:#?}");
    }
    served.stop().await;
}

fn bytes(text: &str) -> Bytes {
    Bytes::from(text.to_owned())
}

/// Red when two threads of the server can take the same message, or one at a time can block the others.
#[actix::test]
async fn a_hundred_posts_of_one_message_at_once_are_published_once() {
    let served = Served::signed().await;
    let events = record(&served.feedback, None);
    let event = EventSeries::new("bars").next(Level::Hard);
    let message = Webhook::new(&secrets(&[SECRET]), &event);
    let posts = (0..100).map(|_| served.post(&message));
    let mut answers: BTreeMap<u16, usize> = BTreeMap::new();
    for (status, _) in within(PATIENCE, futures::future::join_all(posts)).await {
        *answers.entry(status).or_default() += 1;
    }
    assert_eq!(answers, BTreeMap::from([(200, 99), (204, 1)]));
    within(PATIENCE, served.feedback.idle()).await;
    assert_eq!(*events.lock(), [event]);
    served.stop().await;
}

/// Red when two events of one coordinator that arrive at once can pass each other on their way to the bus: the older
/// one would be lost to a subscriber that wants every event.
#[actix::test]
async fn what_is_accepted_reaches_the_bus() {
    let served = Served::signed().await;
    let events = record(&served.feedback, Some("db1:mds-ingest/bars"));
    let (of_all, of_another) = (served.feedback.watch("bars"), served.feedback.watch("db2/bars"));
    let mut bars = EventSeries::new("bars").source("db1:mds-ingest");
    let known = secrets(&[SECRET]);
    let messages: Vec<_> = (0..200).map(|_| Webhook::new(&known, &bars.next(Level::Hard))).collect();
    let answers =
        within(PATIENCE, futures::future::join_all(messages.iter().map(|message| served.post(message)))).await;
    let accepted = answers.iter().filter(|(status, _)| *status == 204).count();
    within(PATIENCE, served.feedback.idle()).await;
    let seqs: Vec<_> = events.lock().iter().map(|event| event.seq).collect();
    assert_eq!(seqs.len(), accepted);
    assert_eq!(seqs.last(), Some(&200));
    assert!(seqs.is_sorted());
    assert_eq!((of_all.borrow().seq, of_another.borrow().seq), (200, 0));
    served.stop().await;
}

/// Red when the new secret is not known beside the old one.
#[actix::test]
async fn a_secret_is_replaced_without_a_gap() {
    let served = Served::start(Receiver::signed(Feedback::private(), secrets(&[OTHER, SECRET]))).await;
    let mut bars = EventSeries::new("bars");
    for sender in [&[SECRET][..], &[SECRET, OTHER], &[OTHER, SECRET], &[OTHER]] {
        assert_eq!(served.post(&Webhook::new(&secrets(sender), &bars.next(Level::Hard))).await.0, 204, "{sender:?}");
    }
    served.stop().await;
}

/// Red when a receiver that was given no secret, as by a variable that is not set, lets all in.
#[actix::test]
async fn without_secrets_none_is_let_in_unless_it_says_so() {
    let message = Webhook::new(&secrets(&[SECRET]), &EventSeries::new("bars").next(Level::Hard));
    let unsigned = [SignedHeaders::ID, SignedHeaders::TIMESTAMP, SignedHeaders::SIGNATURE]
        .iter()
        .fold(message.clone(), |m, name| with_header(&m, name, None));

    let closed = Served::start(Receiver::signed(Feedback::private(), [])).await;
    assert_eq!(closed.post(&message).await.0, 401);
    assert_eq!(closed.post(&unsigned).await.0, 401);
    closed.stop().await;

    let open = Served::start(Receiver::unsigned(Feedback::private())).await;
    let level = open.feedback.watch("test/bars");
    assert_eq!(open.post(&unsigned).await.0, 204);
    assert_eq!(open.post(&message).await, (200, "repeated".into()));
    within(PATIENCE, open.feedback.idle()).await;
    assert_eq!(level.borrow().level, Level::Hard);
    open.stop().await;
}

/// Red when a sender can hold a request open without end, for so many would hold all that the server has, or when a
/// body is waited for though it is known already that the request will be refused.
#[actix::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let receiver = Receiver::signed(Feedback::private(), secrets(&[SECRET]));
    let app = service::init_service(App::new().service(receiver.at("/feedback"))).await;
    let message = Webhook::new(&secrets(&[SECRET]), &EventSeries::new("bars").next(Level::Hard));
    tokio::time::pause();
    let post = async |message: &Webhook, length: &str, end: LocalBoxStream<'static, _>| {
        let headers = message.headers.iter();
        let request = headers.fold(service::TestRequest::post(), |r, (name, value)| r.insert_header((*name, &**value)));
        let request = request.uri("/feedback").insert_header(("content-length", length)).to_request();
        let body = stream::once(async { Ok(bytes("{")) }).chain(end).boxed_local();
        let asked = tokio::time::Instant::now();
        let response = service::call_service(&app, request.replace_payload(Payload::from(body)).0).await;
        (response.status().as_u16(), asked.elapsed().as_secs())
    };
    let never = || stream::pending().boxed_local();
    assert_eq!(post(&message, "100", never()).await, (408, 10));
    let broken = stream::iter([Err(PayloadError::Incomplete(None))]).boxed_local();
    assert_eq!(post(&message, "100", broken).await, (400, 0));
    assert_eq!(post(&message, "65537", never()).await, (413, 0));
    assert_eq!(post(&with_header(&message, SignedHeaders::ID, None), "100", never()).await, (401, 0));
    assert_eq!(receiver.snapshot().cut_off, 2);
}

/// Red when an outcome is counted under another label, or twice.
#[actix::test]
async fn a_recorder_sees_what_became_of_requests() {
    let recorder = DebuggingRecorder::new();
    let receiver = {
        let _recorder = metrics::set_default_local_recorder(&recorder);
        Receiver::signed(Feedback::private(), secrets(&[SECRET]))
    };
    let served = Served::start(receiver).await;
    let message = Webhook::new(&secrets(&[SECRET]), &EventSeries::new("bars").next(Level::Hard));
    for (sent, status) in
        [(&message, 204), (&message, 200), (&with_header(&message, SignedHeaders::SIGNATURE, Some("v1,")), 401)]
    {
        assert_eq!(served.post(sent).await.0, status);
    }
    let mut seen = BTreeMap::new();
    for (key, _, _, value) in recorder.snapshotter().snapshot().into_vec() {
        assert_eq!(key.key().name(), "mds_feedback_received_total");
        let labels: Vec<_> =
            key.key().labels().map(|label| (label.key().to_owned(), label.value().to_owned())).collect();
        let DebugValue::Counter(count) = value else { panic!("{value:?}") };
        let [(name, outcome)] = &labels[..] else { panic!("{labels:?}") };
        assert_eq!(name, "outcome");
        if count > 0 {
            seen.insert(outcome.clone(), count);
        }
    }
    let expected = [("accepted", 1), ("bad_signature", 1), ("repeated", 1)];
    assert_eq!(seen, expected.map(|(outcome, count)| (outcome.to_owned(), count)).into());
    served.stop().await;
}

/// Code of others, asked line by line: a child that answers on its standard output.
struct Python {
    child: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Python {
    fn start(python: &Path, arguments: &[&str]) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut child = Command::new(python)
            .args(arguments)
            .current_dir(root)
            .env("MDS_FB_HTTP_SECRET", format!("{SECRET},{OTHER}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}: run tests/setup.sh first", python.display()));
        let (questions, answers) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, questions, answers }
    }

    /// The official package of Standard Webhooks.
    fn official() -> Self {
        let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/python/bin/python");
        Self::start(&python, &["tests/standard_webhooks.py"])
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        assert!(line.ends_with('\n'), "the child has ended, see its errors: {:?}", self.child.try_wait());
        line.trim_end().to_owned()
    }

    fn ask(&mut self, question: &Value) -> String {
        writeln!(self.questions, "{question}").unwrap();
        serde_json::from_str(&self.line()).unwrap()
    }

    fn verified(&mut self, secret: &str, message: &Webhook) -> bool {
        let headers: BTreeMap<_, _> = message.headers.iter().cloned().collect();
        let answer = self.ask(&json!({"ask": "verify", "secret": secret, "headers": headers, "body": message.body}));
        assert!(answer == "verified" || answer.starts_with("refused: "), "{answer}");
        answer == "verified"
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Red when what we sign is not what the scheme says, for one secret or for several.
#[test]
fn the_official_package_verifies_what_we_sign() {
    let mut official = Python::official();
    let mut bars = EventSeries::new("bars").source("büro-1:mds-ingest");
    let unpadded = "whsec_".to_owned() + "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0MTI";
    for sender in [&[SECRET][..], &[OTHER, SECRET], &[unpadded.as_str()]] {
        let message = Webhook::new(&secrets(sender), &bars.next(Level::Hard));
        for secret in [SECRET, OTHER, unpadded.as_str()] {
            assert_eq!(official.verified(secret, &message), sender.contains(&secret), "{secret} of {sender:?}");
        }
        for (name, value) in &message.headers {
            if *name == "content-type" {
                continue;
            }
            let mut changed = value.clone().into_bytes();
            let last = changed.len() - 5;
            changed[last] = if changed[last] == b'1' { b'2' } else { b'1' };
            let changed = with_header(&message, name, Some(std::str::from_utf8(&changed).unwrap()));
            // The last signature was changed: any other is still good.
            assert!(!official.verified(sender.last().unwrap(), &changed), "{name}: {changed:?}");
        }
        let changed = Webhook { body: message.body.replacen("hard", "soft", 1), ..message.clone() };
        assert!(!official.verified(sender[0], &changed));
    }
}

/// Red when the receiver asks for more, or for something else, than the scheme says.
#[actix::test]
async fn the_receiver_accepts_what_the_official_package_signs() {
    let served = Served::signed().await;
    let mut official = Python::official();
    let mut bars = EventSeries::new("bars").source("büro-1:mds-ingest");
    for id in ["msg_p5jXN8AQM9LWM0D4loKWxJek", "2"] {
        let message = signed_body(id, serde_json::to_string(&bars.next(Level::Hard)).unwrap());
        let by = |official: &mut Python, secret| {
            let now = unix_now();
            let ask = json!({"ask": "sign", "secret": secret, "id": id, "timestamp": now, "body": message.body});
            let signed = with_header(&message, SignedHeaders::SIGNATURE, Some(&official.ask(&ask)));
            with_header(&signed, SignedHeaders::TIMESTAMP, Some(&now.to_string()))
        };
        assert_eq!(served.post(&by(&mut official, OTHER)).await.0, 401);
        assert_eq!(served.post(&by(&mut official, SECRET)).await.0, 204);
    }
    served.stop().await;
}

/// The receiver that docs/WEBHOOKS.md gives to those who are not in Rust.
struct PythonReceiver {
    python: Python,
    address: String,
    client: awc::Client,
}

impl PythonReceiver {
    fn start() -> Self {
        let mut python = Python::start(&PathBuf::from("python3"), &["examples/receiver.py", "0"]);
        let listening = python.line();
        let address = format!("127.0.0.1:{}", listening.rsplit(' ').next().unwrap());
        Self { python, address, client: awc::Client::builder().timeout(PATIENCE).finish() }
    }

    /// Returns the status, and how many instances of the name live where it says so.
    async fn post(&self, message: &Webhook) -> (u16, Option<String>) {
        // It closes each connection: one that is reused may be closed under the request.
        let request = self.client.post(format!("http://{}/", self.address)).force_close();
        let headers = message.headers.iter();
        let request = headers.fold(request, |request, (name, value)| request.insert_header((*name, &**value)));
        let response = request.send_body(message.body.clone()).await.unwrap();
        let conflict = response.headers().get(SignedHeaders::CONFLICT);
        (response.status().as_u16(), conflict.map(|living| living.to_str().unwrap().to_owned()))
    }

    /// Sends an event as `webhook-id` says, with this refresh.
    async fn send(&self, event: &FeedbackEvent, id: &str, refresh: impl Into<Option<Duration>>) -> Option<String> {
        let body = EventBody { refresh: refresh.into(), ..EventBody::clone(event) };
        let (status, conflict) = self.post(&signed_body(id, serde_json::to_string(&body).unwrap())).await;
        assert_eq!(status, 204, "{id}");
        conflict
    }

    /// Sends the head of a request alone; returns the first line of the answer.
    fn answer_to_head(&self, message: &Webhook, length: usize) -> String {
        let mut connection = TcpStream::connect(&self.address).unwrap();
        connection.set_read_timeout(Some(PATIENCE)).unwrap();
        let headers: String = message.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        write!(connection, "POST / HTTP/1.1\r\n{headers}content-length: {length}\r\n\r\n").unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).unwrap();
        answer.lines().next().unwrap_or_default().to_owned()
    }
}

/// Red when the receiver in Python takes what is forged, old or cut, waits for a body that it will not read, acts on
/// what is stale or only a sign of life, refuses what is good, does not take a restart at an earlier time, believes one
/// that is silent, takes an end for a silence, or does not say that two live.
#[actix::test]
async fn the_receiver_in_python_does_as_the_page_says() {
    let mut receiver = PythonReceiver::start();
    let mut bars = EventSeries::new("bars").source("db1:mds-ingest");
    let (older, soft, hard) = (bars.next(Level::Ok), bars.next(Level::Soft), bars.next(Level::Hard));
    bars.restart();
    let ok = bars.next(Level::Ok);
    let known = secrets(&[SECRET]);
    let good = (204, None);
    assert_eq!(receiver.post(&Webhook::new(&known, &soft)).await, good);
    assert_eq!(receiver.python.line(), "db1:mds-ingest/bars: soft, queue_rising");
    for known_already in [&soft, &older] {
        assert_eq!(receiver.post(&Webhook::new(&known, known_already)).await, good);
    }
    let new = Webhook::new(&known, &hard);
    let stranger = Webhook::new(&secrets(&["whsec_c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"]), &hard);
    let now = unix_now();
    let by_their_heads = [
        signed_at(&hard, now - 310),
        signed_at(&hard, now + 330),
        with_header(&new, SignedHeaders::TIMESTAMP, Some("soon")),
        signed_body("evt.other", new.body.clone()),
        with_header(&new, SignedHeaders::ID, None),
        with_header(&new, SignedHeaders::TIMESTAMP, None),
        with_header(&new, SignedHeaders::SIGNATURE, None),
    ];
    for refused in &by_their_heads {
        assert_eq!(receiver.answer_to_head(refused, 8192), "HTTP/1.0 401 Unauthorized", "{refused:?}");
    }
    let large = receiver.answer_to_head(&new, 8193);
    assert!(large.starts_with("HTTP/1.0 413 "), "{large}");
    let by_their_signatures = [
        stranger,
        Webhook { body: new.body.replace("hard", "soft"), ..new.clone() },
        with_header(&new, SignedHeaders::SIGNATURE, Some("v1, v2,x \u{e4}")),
    ];
    for refused in &by_their_signatures {
        assert_eq!(receiver.post(refused).await, (401, None), "{refused:?}");
    }
    // With either secret, and as much as may be read.
    let padded = format!("{}{}", new.body, " ".repeat(8192 - new.body.len()));
    assert_eq!(receiver.post(&signed_body(&hard.id, padded)).await, good);
    assert_eq!(receiver.python.line(), "db1:mds-ingest/bars: hard, queue_high");
    // A restart of the sender takes the place of what was before.
    assert_eq!(receiver.post(&Webhook::new(&secrets(&[OTHER]), &ok)).await, good);
    assert_eq!(receiver.python.line(), "db1:mds-ingest/bars: ok, started");

    // A restart on a clock that was set back lives beside what was before, until that has ended.
    let long = Duration::from_secs(3_600);
    let mut bars = EventSeries::new("bars").source("db2");
    let hard = bars.next(Level::Hard);
    assert_eq!(receiver.send(&hard, &hard.id, long).await, None);
    assert_eq!(receiver.python.line(), "db2/bars: hard, queue_high");
    let ok = EventSeries::new("bars").source("db2").instance("00000000000000b2").next(Level::Ok);
    let ok = FeedbackEvent::from(EventBody { epoch: hard.epoch - 1, ..EventBody::clone(&ok) });
    assert_eq!(receiver.send(&ok, &ok.id, long).await.as_deref(), Some("2"));
    assert_eq!(receiver.send(&hard, &format!("{}_last", hard.id), None).await, None);
    assert_eq!(receiver.python.line(), "db2/bars: ok, started");
    // Late, from one that has ended: it does not live again.
    assert_eq!(receiver.send(&hard, &format!("{}_r1", hard.id), long).await, None);
    // The end of the only one that lives is no silence.
    assert_eq!(receiver.send(&ok, &format!("{}_last", ok.id), None).await, None);

    // One that fell silent, is heard again, and then gives signs of life.
    let short = Duration::from_millis(200);
    let hard = EventSeries::new("bars").source("db3").next(Level::Hard);
    let sent = Instant::now();
    assert_eq!(receiver.send(&hard, &hard.id, short).await, None);
    assert_eq!(receiver.python.line(), "db3/bars: hard, queue_high");
    assert_eq!(receiver.python.line(), "db3/bars: soft, silent");
    assert!(sent.elapsed() >= 3 * short, "{:?}", sent.elapsed());
    assert_eq!(receiver.send(&hard, &format!("{}_r1", hard.id), long).await, None);
    assert_eq!(receiver.python.line(), "db3/bars: hard, queue_high");
    // As long as it takes another to fall silent it is not heard, and does not have to be.
    let soft = EventSeries::new("bars").source("db4").next(Level::Soft);
    assert_eq!(receiver.send(&soft, &soft.id, short).await, None);
    assert_eq!(receiver.python.line(), "db4/bars: soft, queue_rising");
    assert_eq!(receiver.python.line(), "db4/bars: soft, silent");
    // The sign of life changes nothing, and it is from then on that the silence counts.
    let sent = Instant::now();
    assert_eq!(receiver.send(&hard, &format!("{}_r2", hard.id), short).await, None);
    assert_eq!(receiver.python.line(), "db3/bars: soft, silent");
    assert!(sent.elapsed() >= 3 * short, "{:?}", sent.elapsed());

    // One that was replaced and speaks again, of a sender without signs of life.
    let mut older = EventSeries::new("bars").source("db5");
    let mut newer = older.clone();
    newer.restart();
    let (hard, ok) = (older.next(Level::Hard), newer.next(Level::Ok));
    assert_eq!(receiver.send(&hard, &hard.id, None).await, None);
    assert_eq!(receiver.python.line(), "db5/bars: hard, queue_high");
    assert_eq!(receiver.send(&ok, &ok.id, None).await, None);
    assert_eq!(receiver.python.line(), "db5/bars: ok, started");
    assert_eq!(receiver.send(&hard, "evt_again", None).await.as_deref(), Some("2"));
    assert_eq!(receiver.python.line(), "db5/bars: hard, queue_high");
    // One that drains has ended, and does not count beside the other.
    let (draining, ok) = (newer.next_because(Reason::Draining), older.next(Level::Ok));
    assert_eq!(receiver.send(&draining, &draining.id, None).await, None);
    assert_eq!(receiver.send(&ok, &ok.id, None).await, None);
    assert_eq!(receiver.python.line(), "db5/bars: ok, queue_recovered");
}
