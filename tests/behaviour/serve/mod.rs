//! `mds serve` as a child process, and clients that say on the wire what they want to.

mod access;
#[cfg(feature = "webhooks")]
mod clients;
#[cfg(target_os = "linux")]
mod deploy_files;
mod end;
mod fuzz;
mod going_on;
mod load;
mod logging;
#[cfg(feature = "postgres")]
mod pages;
mod records;
mod rubbish;
mod streams;
mod watching;

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, ExitStatus, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex};
use rusqlite::Connection;
use serde_json::Value;

use crate::mds::{TOO_LONG, mds};

/// What the child has logged so far.
type Log = Arc<(Mutex<Vec<String>>, Condvar)>;

/// A service in a directory of its own. It is killed when the test is over.
struct Service {
    child: Child,
    address: SocketAddr,
    log: Log,
    dir: PathBuf,
}

impl Service {
    /// Starts one that is ready.
    fn start(dir: &Path, variables: &[(&str, &str)]) -> Self {
        let service = Self::listening(dir, variables);
        service.wait_for("ready address=");
        service
    }

    /// Starts one that listens, whether its store has started or not.
    fn listening(dir: &Path, variables: &[(&str, &str)]) -> Self {
        let mut command = mds(dir);
        command.arg("serve").env("MDS_HTTP_BIND", "127.0.0.1:0").envs(variables.iter().copied());
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let log = Log::default();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let heard = Arc::clone(&log);
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                heard.0.lock().push(line);
                heard.1.notify_all();
            }
        });
        let unknown = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut service = Self { child, address: unknown, log, dir: dir.to_owned() };
        // As text, or as JSON.
        let line = service.wait_for_line("listening", |line| line.contains("listening") && line.contains("address"));
        let address = line.rsplit_once("address").unwrap().1;
        service.address = address.trim_matches(|at: char| !at.is_ascii_digit()).parse().unwrap();
        service
    }

    /// Waits for a line of the log.
    fn wait_for(&self, text: &str) -> String {
        self.wait_for_line(text, |line| line.contains(text))
    }

    fn wait_for_line(&self, text: &str, is_it: impl Fn(&str) -> bool) -> String {
        let mut lines = self.log.0.lock();
        loop {
            if let Some(line) = lines.iter().find(|line| is_it(line)) {
                return line.clone();
            }
            let late = self.log.1.wait_for(&mut lines, TOO_LONG).timed_out();
            assert!(!late, "no line {text:?} in {lines:#?}");
        }
    }

    fn log(&self) -> String {
        self.log.0.lock().join("\n")
    }

    fn get(&self, path: &str) -> Answer {
        self.send(&format!("GET {path} HTTP/1.1\r\n"), b"")
    }

    /// Posts a body of NDJSON.
    fn post(&self, path: &str, body: &[u8]) -> Answer {
        self.send(&format!("POST {path} HTTP/1.1\r\nContent-Type: application/x-ndjson\r\n"), body)
    }

    /// Sends a request of these first lines and this body, and reads the answer.
    fn send(&self, head: &str, body: &[u8]) -> Answer {
        let mut client = Client::new(self.address, head, Some(body.len()));
        client.write(body);
        client.answer()
    }

    /// Looks at a coordinator until something holds of it.
    fn until(&self, id: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let began = Instant::now();
        loop {
            let health = self.get(&format!("/v1/coordinators/{id}")).json();
            if holds(&health) {
                return health;
            }
            assert!(began.elapsed() < TOO_LONG, "{health:#}");
            thread::yield_now();
        }
    }

    fn database(&self) -> Connection {
        let connection = Connection::open(self.dir.join("market_data.db")).unwrap();
        connection.busy_timeout(TOO_LONG).unwrap();
        connection
    }

    /// The ids of the bars in the database: their times, in seconds.
    fn ids(&self) -> Vec<i64> {
        let connection = self.database();
        let mut statement = connection.prepare("SELECT ts / 1000000 FROM bars ORDER BY ts").unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    }

    /// Waits until so many bars are in the database.
    fn until_stored(&self, bars: i64) {
        let (began, connection) = (Instant::now(), self.database());
        let mut statement = connection.prepare("SELECT count(*) FROM bars").unwrap();
        while statement.query_row([], |row| row.get::<_, i64>(0)).unwrap() < bars {
            assert!(began.elapsed() < TOO_LONG, "{bars} bars are not stored: {}", self.log());
            thread::yield_now();
        }
    }

    fn signal(&self, signal: &str) {
        let sent = std::process::Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    fn wait(&mut self) -> ExitStatus {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(began.elapsed() < TOO_LONG, "it does not end: {}", self.log());
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One request on a connection of its own.
struct Client(TcpStream);

impl Client {
    /// Sends the head; without a length the body comes in chunks that the test writes.
    fn new(address: SocketAddr, head: &str, length: Option<usize>) -> Self {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(TOO_LONG)).unwrap();
        stream.set_write_timeout(Some(TOO_LONG)).unwrap();
        let host = if head.to_ascii_lowercase().contains("\nhost:") { "" } else { "Host: localhost\r\n" };
        let length = match length {
            Some(length) => format!("Content-Length: {length}\r\n"),
            None => "Transfer-Encoding: chunked\r\n".to_owned(),
        };
        stream.write_all(format!("{head}{host}{length}Connection: close\r\n\r\n").as_bytes()).unwrap();
        Self(stream)
    }

    /// Writes bytes as they are. A service that has answered may not read them.
    fn write(&mut self, bytes: &[u8]) {
        let _ = self.0.write_all(bytes);
    }

    /// Reads the answer, as far as its length says.
    fn answer(mut self) -> Answer {
        let (mut text, mut buf) = (Vec::new(), [0; 4096]);
        loop {
            // What was sent behind an answer may be answered by a reset, behind it.
            let read = self.0.read(&mut buf).unwrap_or(0);
            text.extend(&buf[..read]);
            let is_whole = || {
                let text = String::from_utf8_lossy(&text).replace("HTTP/1.1 100 Continue\r\n\r\n", "");
                let (head, body) = text.split_once("\r\n\r\n")?;
                let length: usize =
                    head.to_ascii_lowercase().split_once("content-length: ")?.1.lines().next()?.parse().ok()?;
                (body.len() >= length).then_some(())
            };
            if read == 0 || is_whole().is_some() {
                return Answer::parse(&text);
            }
        }
    }

    /// Goes away without having read an answer.
    fn leave(self) {
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

#[derive(Debug)]
struct Answer {
    status: u16,
    headers: BTreeMap<String, String>,
    body: String,
}

impl Answer {
    fn parse(text: &[u8]) -> Self {
        let text = String::from_utf8(text.to_vec()).unwrap();
        // `100 Continue` may come first.
        let text = text.strip_prefix("HTTP/1.1 100 Continue\r\n\r\n").unwrap_or(&text);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let pair = |line: &str| {
            let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("{line:?}"));
            (name.to_ascii_lowercase(), value.to_owned())
        };
        Self { status, headers: lines.map(pair).collect(), body: body.to_owned() }
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// A bar with a number of its own, as a line of NDJSON.
fn bar(id: u64) -> String {
    let ts = market_data_store::Timestamp::from_micros(i64::try_from(id).unwrap() * 1_000_000);
    format!(
        r#"{{"vendor":"test","symbol":"S{}","timeframe":"1s","adjustment":"raw","ts":"{ts}","open":1.5,"high":2.0,"low":1.0,"close":1.5,"volume":{id}.0}}"#,
        id % 7
    ) + "\n"
}

fn bars(ids: impl IntoIterator<Item = u64>) -> Vec<u8> {
    ids.into_iter().map(bar).collect::<String>().into_bytes()
}
