//! A server that answers requests as a test tells it, and writes down what it was asked.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    thread,
    time::{Duration, Instant, SystemTime},
};

use market_data_store::{Endpoint, FeedbackEvent};
use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};

use crate::support::{PATIENCE, within};

/// One request.
#[derive(Clone, Debug)]
pub struct Asked {
    pub at: Instant,
    pub clock: SystemTime,
    /// Counts the connections of the server.
    pub connection: usize,
    /// `POST /path HTTP/1.1`.
    pub line: String,
    /// By lower-case name.
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Asked {
    pub fn event(&self) -> FeedbackEvent {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub fn id(&self) -> &str {
        &self.headers["webhook-id"]
    }
}

/// What the server does about a request.
pub enum Reply {
    /// An answer with this status and these header lines, and no body.
    Status(u16, String),
    /// An answer with this status once the test says so.
    Held(oneshot::Receiver<()>, u16),
    /// Nothing, for as long as the other side waits.
    Silence,
    /// A head that promises a body, and nothing more.
    HeadAlone,
    /// A body without an end, as fast as it is taken. Tells how many bytes were.
    Endless(oneshot::Sender<u64>),
    /// A body of one byte a second.
    Drip,
    /// The connection is reset. Of the body the last byte is missing then.
    Reset,
}

pub fn ok() -> Reply {
    Reply::Status(200, String::new())
}

/// Makes a server's certificate for this machine, and what vouches for it, in PEM.
pub fn certificate() -> (Arc<rustls::ServerConfig>, String) {
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let rcgen::CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(names).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    (config.into(), cert.pem())
}

/// How the server chooses: by the number of the request, from 0.
type Script = Box<dyn FnMut(usize) -> Reply + Send>;

pub struct Hook {
    pub address: SocketAddr,
    asked: watch::Receiver<Vec<Asked>>,
    /// How many connections were accepted.
    pub connections: Arc<Mutex<usize>>,
}

impl Hook {
    /// Starts a server on a free port.
    pub fn start(script: impl FnMut(usize) -> Reply + Send + 'static) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").unwrap(), script)
    }

    pub fn on(listener: TcpListener, script: impl FnMut(usize) -> Reply + Send + 'static) -> Self {
        Self::serve(listener, Box::new(script), |stream| Ok(Box::new(stream)))
    }

    /// Starts a server of `https` on a free port.
    pub fn tls(config: Arc<rustls::ServerConfig>, script: impl FnMut(usize) -> Reply + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Self::serve(listener, Box::new(script), move |stream| {
            let connection = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            Ok(Box::new(rustls::StreamOwned::new(connection, stream)))
        })
    }

    fn serve(
        listener: TcpListener,
        script: Script,
        wrap: impl Fn(TcpStream) -> std::io::Result<Box<dyn Stream>> + Send + Sync + 'static,
    ) -> Self {
        let address = listener.local_addr().unwrap();
        let (write, asked) = watch::channel(Vec::new());
        let (write, script, wrap) = (Arc::new(write), Arc::new(Mutex::new(script)), Arc::new(wrap));
        let connections = Arc::new(Mutex::new(0));
        let counted = Arc::clone(&connections);
        thread::spawn(move || {
            for stream in listener.incoming() {
                // Only the listener's end is an error here.
                let Ok(stream) = stream else { return };
                let connection = {
                    let mut counted = counted.lock();
                    *counted += 1;
                    *counted
                };
                let (write, script, wrap) = (Arc::clone(&write), Arc::clone(&script), Arc::clone(&wrap));
                thread::spawn(move || {
                    if let Ok(stream) = wrap(stream) {
                        // An error is the other side's going away.
                        let _ = converse(connection, stream, &write, &script);
                    }
                });
            }
        });
        Self { address, asked, connections }
    }

    /// The URL of a path on this server.
    pub fn url(&self, path: &str) -> Endpoint {
        format!("http://{}{path}", self.address).parse().unwrap()
    }

    /// What was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.borrow().clone()
    }

    /// Waits until so many requests have come.
    pub async fn wait(&self, requests: usize) -> Vec<Asked> {
        self.wait_for(|asked| asked.len() >= requests).await
    }

    pub async fn wait_for(&self, enough: impl FnMut(&[Asked]) -> bool) -> Vec<Asked> {
        self.until(enough).await;
        self.asked()
    }

    /// Waits as `wait` does. To take all that was asked each time would take longer with each of many thousands.
    pub async fn reached(&self, requests: usize) {
        self.until(|asked| asked.len() >= requests).await;
    }

    async fn until(&self, mut enough: impl FnMut(&[Asked]) -> bool) {
        let mut asked = self.asked.clone();
        within(PATIENCE, asked.wait_for(|asked| enough(asked))).await.expect("the server never ends");
    }
}

trait Stream: Read + Write {}

impl<S: Read + Write> Stream for S {}

fn converse(
    connection: usize,
    stream: Box<dyn Stream>,
    write: &watch::Sender<Vec<Asked>>,
    script: &Mutex<Script>,
) -> std::io::Result<()> {
    // One byte at a time, so that what is unread stays in the socket.
    let mut stream = BufReader::with_capacity(1, stream);
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let mut headers = BTreeMap::new();
        loop {
            let mut header = String::new();
            stream.read_line(&mut header)?;
            let Some((name, value)) = header.split_once(':') else { break };
            headers.insert(name.to_lowercase(), value.trim().to_owned());
        }
        let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
        let line = line.trim_end().to_owned();
        let reply = {
            let mut script = script.lock();
            let number = write.borrow().len();
            let reply = script(number);
            // A connection that is closed over something unread is reset.
            let mut body = vec![0; length - usize::from(matches!(reply, Reply::Reset))];
            stream.read_exact(&mut body)?;
            let asked = Asked { at: Instant::now(), clock: SystemTime::now(), connection, line, headers, body };
            // Before the answer, so that a test that sees what follows from it finds the request.
            write.send_modify(|all| all.push(asked));
            reply
        };
        answer(reply, stream.get_mut())?;
    }
}

fn answer(reply: Reply, stream: &mut Box<dyn Stream>) -> std::io::Result<()> {
    let torn = || std::io::Error::from(std::io::ErrorKind::ConnectionReset);
    let status = |stream: &mut Box<dyn Stream>, status: u16, headers: &str| {
        // In one piece: a second would wait until the first is acknowledged.
        stream.write_all(format!("HTTP/1.1 {status} Said\r\ncontent-length: 0\r\n{headers}\r\n").as_bytes())?;
        stream.flush()
    };
    match reply {
        Reply::Status(code, headers) => status(stream, code, &headers),
        Reply::Held(go, code) => {
            let _ = go.blocking_recv();
            status(stream, code, "")
        }
        Reply::Silence => {
            // Returns when the other side has had enough.
            stream.read_exact(&mut [0]).and(Err(torn()))
        }
        Reply::HeadAlone => {
            write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n")?;
            stream.flush()?;
            stream.read_exact(&mut [0]).and(Err(torn()))
        }
        Reply::Endless(taken) => {
            write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n")?;
            let part = [b'x'; 16 * 1024];
            let mut bytes = 0;
            while bytes < 1_000_000_000 && stream.write_all(&part).is_ok() {
                bytes += part.len() as u64;
            }
            let _ = taken.send(bytes);
            Err(torn())
        }
        Reply::Drip => {
            write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: 3600\r\n\r\n")?;
            loop {
                stream.write_all(b"x")?;
                stream.flush()?;
                // The point of it: a body that takes an hour.
                thread::sleep(Duration::from_secs(1));
            }
        }
        Reply::Reset => Err(torn()),
    }
}
