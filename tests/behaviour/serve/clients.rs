//! The clients of the examples bring a whole body in, whatever the store and the service do meanwhile.

use std::{
    fs,
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex};
use rusqlite::Connection;

use super::{Service, bar};
use crate::{
    mds::{TOO_LONG, count},
    support::size_of_test,
};

#[allow(dead_code, reason = "the test begins where its `main` has read its arguments")]
#[path = "../../../examples/post_bars.rs"]
mod post_bars;

/// Stands between a client and a service, sees how each post is answered, and lets bodies through no faster than a network
/// would.
struct Relay {
    address: SocketAddr,
    seen: Seen,
}

/// What became of the posts that went through a relay.
#[derive(Default)]
struct Posts {
    /// The test has failed: a client is told to end.
    is_over: bool,
    /// From where in the body each one was to be taken.
    skips: Vec<u64>,
    /// The status of each that is over; 0 of those whose connection broke without one.
    answers: Vec<u16>,
}

type Seen = Arc<(Mutex<Posts>, Condvar)>;

/// Bytes a second of one connection.
const PACE: usize = 32 << 20;

impl Relay {
    fn start(service: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, seen) = (listener.local_addr().unwrap(), Seen::default());
        let posts = Arc::clone(&seen);
        // It ends with the process.
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let posts = Arc::clone(&posts);
                thread::spawn(move || relay(client, service, &posts));
            }
        });
        Self { address, seen }
    }

    /// Waits until something holds of the posts.
    fn wait_for(&self, what: &str, holds: impl Fn(&Posts) -> bool) {
        let mut posts = self.seen.0.lock();
        while !holds(&posts) {
            let late = self.seen.1.wait_for(&mut posts, TOO_LONG).timed_out();
            assert!(!late, "no {what}: {:?}", posts.answers);
        }
    }

    /// Has the client end if the test fails, which waits for it.
    fn ends_with_the_test(&self) -> impl Drop + '_ {
        struct Ends<'a>(&'a Relay);
        impl Drop for Ends<'_> {
            fn drop(&mut self) {
                self.0.seen.0.lock().is_over = thread::panicking();
            }
        }
        Ends(self)
    }

    /// Returns how many posts were refused for now.
    fn refused(&self) -> usize {
        refused(&self.seen.0.lock())
    }
}

fn refused(posts: &Posts) -> usize {
    posts.answers.iter().filter(|answer| [429, 503].contains(*answer)).count()
}

fn relay(mut client: TcpStream, service: SocketAddr, posts: &Seen) -> Option<()> {
    // A service that is not there is a connection that breaks.
    let mut service = TcpStream::connect(service).ok()?;
    let (mut up, mut down) = (client.try_clone().ok()?, service.try_clone().ok()?);
    let mut first = vec![0; 64 << 10];
    let read = client.read(&mut first).ok()?;
    if posts.0.lock().is_over {
        return client.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}").ok();
    }
    let is_post = first.starts_with(b"POST");
    // Each post has a connection of its own, so that it is seen here.
    let end = first[..read].windows(2).position(|two| two == b"\r\n")? + 2;
    service.write_all(&[&first[..end], b"Connection: close\r\n", &first[end..read]].concat()).ok()?;
    if is_post {
        let mut seen = posts.0.lock();
        let head = String::from_utf8_lossy(&first[..read]);
        let target = head.split(' ').nth(1).unwrap_or_default();
        seen.skips.extend(target.split_once("skip=").and_then(|(_, skip)| skip.parse::<u64>().ok()));
    }
    let upwards = thread::spawn(move || {
        let mut piece = vec![0; 64 << 10];
        // What a service does not take any more is thrown away: a client may send all before it reads.
        while let Ok(read @ 1..) = up.read(&mut piece) {
            let _ = service.write_all(&piece[..read]);
            thread::sleep(Duration::from_secs_f64(read as f64 / PACE as f64));
        }
        let _ = service.shutdown(Shutdown::Write);
    });
    let (mut piece, mut status) = (vec![0; 64 << 10], None);
    while let Ok(read @ 1..) = down.read(&mut piece) {
        let text = String::from_utf8_lossy(&piece[..read]);
        // `100 Continue` may come first, by itself or not.
        let lines = text.split("\r\n\r\n").filter(|head| !head.starts_with("HTTP/1.1 100"));
        let found = lines.filter_map(|head| head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse::<u16>().ok()).next();
        if let (None, Some(found), true) = (status, found, is_post) {
            posts.0.lock().answers.push(found);
            posts.1.notify_all();
            status = Some(found);
        }
        if client.write_all(&piece[..read]).is_err() {
            break;
        }
    }
    if is_post && status.is_none() {
        posts.0.lock().answers.push(0);
        posts.1.notify_all();
    }
    let _ = client.shutdown(Shutdown::Write);
    let _ = down.shutdown(Shutdown::Both);
    upwards.join().ok()
}

#[derive(Clone, Copy, Debug)]
enum Form {
    Ndjson,
    Csv,
    Array,
    Gzip,
}

impl Form {
    /// News have titles with line ends.
    fn kind(self) -> &'static str {
        match self {
            Self::Csv => "news",
            Self::Ndjson | Self::Array | Self::Gzip => "bars",
        }
    }

    /// What the records in the database are told apart by.
    fn ids(self) -> &'static str {
        match self {
            Self::Csv => "SELECT CAST(substr(id, 2) AS INTEGER) FROM news ORDER BY 1",
            Self::Ndjson | Self::Array | Self::Gzip => "SELECT ts / 1000000 FROM bars ORDER BY ts",
        }
    }
}

/// Writes the records in a form.
fn write_file(path: &Path, form: Form, records: u64) {
    let file = std::io::BufWriter::new(fs::File::create(path).unwrap());
    let write = |mut to: Box<dyn Write>| {
        if let Form::Csv = form {
            to.write_all(b"vendor,id,ts,symbols,title\n").unwrap();
        }
        for id in 0..records {
            match form {
                Form::Ndjson | Form::Gzip => to.write_all(bar(id).as_bytes()).unwrap(),
                Form::Array => write!(to, "{}{}", if id == 0 { '[' } else { ',' }, bar(id).trim_end()).unwrap(),
                Form::Csv => {
                    let ts = market_data_store::Timestamp::from_secs(id as i64);
                    let news = format!("test,n{id},{ts},\"[\"\"ES\"\"]\",\"two\nlines, and \"\"quotes\"\"\"\n");
                    to.write_all(news.as_bytes()).unwrap();
                }
            }
        }
        if let Form::Array = form {
            to.write_all(b"]\n").unwrap();
        }
        to.flush().unwrap();
    };
    match form {
        Form::Gzip => write(Box::new(flate2::write::GzEncoder::new(file, flate2::Compression::fast()))),
        _ => write(Box::new(file)),
    }
}

fn ids(database: &Connection, form: Form) -> Vec<i64> {
    let mut statement = database.prepare_cached(form.ids()).unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

/// Has a client bring in a file while the store takes nothing now and then, and through two kills of the service. `post`
/// returns whether it says that all is stored.
fn through_all(form: Form, post: impl FnOnce(&Path, String) -> bool + Send) {
    let records = size_of_test("MDS_TEST_SERVE_CLIENT_RECORDS", SMALL) as u64;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("bars");
    write_file(&file, form, records);
    let mut variables = vec![
        ("MDS_KINDS", "bars,news"),
        ("MDS_COORDINATOR_CAPACITY", "1000"),
        ("MDS_COORDINATOR_BATCH_SIZE", "250"),
        ("MDS_HTTP_SUBMIT_TIMEOUT", "0.2"),
        ("MDS_HTTP_ACK_TIMEOUT", "2"),
        ("MDS_CB_HALF_OPEN_AFTER_SEC", "1"),
    ];
    let mut service = Service::start(dir.path(), &variables);
    let address = service.address.to_string();
    variables.push(("MDS_HTTP_BIND", &address));
    let relay = Relay::start(service.address);
    let database = service.database();
    database.execute_batch("BEGIN IMMEDIATE").unwrap();
    let began = Instant::now();
    thread::scope(|scope| {
        let (file, url) = (&file, format!("http://{}/v1/records/{}", relay.address, form.kind()));
        let client = scope.spawn(move || post(file, url));
        let _ends = relay.ends_with_the_test();
        // The store takes nothing for longer than a request waits for its next record, and then what it has.
        service.until(form.kind(), |health| count(health, "waiting") > 0);
        thread::sleep(Duration::from_millis(500));
        database.execute_batch("COMMIT").unwrap();
        relay.wait_for("refusal", |posts| refused(posts) > 0);
        // The client waits for a second at least, so it posts to a store that is away again.
        // Nothing else may be under way then, or the level rises, and a client begins nothing while it is hard.
        service.until(form.kind(), |health| {
            health["level"] == "ok" && count(health, "queue_size") + count(health, "in_flight") == 0
        });
        database.execute_batch("BEGIN IMMEDIATE").unwrap();
        let before = relay.refused();
        // On a busy machine it may have been earlier: then the rest is in the queue, or stored.
        let is_answered = |posts: &Posts| refused(posts) > before || posts.answers.contains(&200);
        relay.wait_for("answer at the outage", is_answered);
        // The service is killed and comes back while the database is locked, and is killed again in the middle of what follows.
        service.signal("-KILL");
        service.wait();
        service = Service::listening(dir.path(), &variables);
        database.execute_batch("COMMIT").unwrap();
        let half = || ids(&database, form).len() as u64 >= records / 2;
        while !half() {
            assert!(began.elapsed() < TOO_LONG + Duration::from_secs(records / 1_000), "{}", service.log());
            thread::sleep(Duration::from_millis(20));
        }
        service.signal("-KILL");
        service.wait();
        service = Service::listening(dir.path(), &variables);
        assert!(client.join().unwrap(), "{form:?}: the client says that not all is stored: {}", service.log());
    });
    let (took, posts) = (began.elapsed(), relay.seen.0.lock());
    let answered = |status: u16| posts.answers.iter().filter(|answer| **answer == status).count();
    println!(
        "{form:?}: {records} records in {took:.1?}, of {} posts {} were answered 429, {} 503, {} 200, and {} broke off",
        posts.answers.len(),
        answered(429),
        answered(503),
        answered(200),
        answered(0)
    );
    let skips = &posts.skips;
    assert!(skips.is_sorted() && skips.last() > Some(&0), "{form:?}: it did not go on where it was told: {skips:?}");
    assert!(ids(&database, form).into_iter().eq(0..records as i64), "{form:?}: the ids in the database are others");
}

/// So many records are brought in in all forms at once.
const SMALL: usize = 5_000;

fn in_all_forms(post: impl Fn(&Path, String) -> bool + Sync) {
    let forms = [Form::Ndjson, Form::Csv, Form::Array, Form::Gzip];
    if size_of_test("MDS_TEST_SERVE_CLIENT_RECORDS", SMALL) > SMALL {
        forms.into_iter().for_each(|form| through_all(form, &post));
        return;
    }
    thread::scope(|scope| {
        for form in forms {
            let post = &post;
            scope.spawn(move || through_all(form, post));
        }
    });
}

/// Red when the client in Rust gives up, begins anew after each refusal, or leaves a record out: forget `resume_at`, or read
/// the answer only once the whole body is sent, at the full size.
#[test]
fn the_client_in_rust_brings_every_record_in() {
    in_all_forms(|file, url| {
        let run = post_bars::run(file.to_str().unwrap(), &url, None);
        actix_web::rt::System::new().block_on(run).unwrap()
    });
}

/// Red when the client in Python does.
#[test]
fn the_client_in_python_brings_every_record_in() {
    in_all_forms(|file, url| {
        let mut client = Command::new("python3");
        client.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/post_bars.py")).arg(file).arg(url);
        client.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success()
    });
}
