//! One request of a webhook: what is sent, and what an answer means.

use std::{
    cell::RefCell,
    fmt,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use awc::{
    ClientResponse, Connector,
    error::{ConnectError, SendRequestError},
    http::{
        StatusCode, Uri,
        header::{self, HeaderMap},
    },
};
use base64::{Engine, prelude::BASE64_STANDARD};
use futures_util::StreamExt;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use tokio::time::{Instant, timeout_at};

use super::{
    config::BroadcastError,
    signature::{self, WebhookSecret},
};
use crate::{
    feedback::event::FeedbackEvent,
    policy::SentAs,
    settings::{Endpoint, InvalidEndpoint},
};

/// How much of an answer's body is read, so that its connection can be used again. The body itself means nothing.
const MAX_BODY: usize = 64 * 1024;

/// The longest time that a destination can ask to be left alone. One that asks for more is asked again then, which is
/// little to bear, while the `ok` that it waits for does not have to wait for a number that was a mistake.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(300);

const USER_AGENT: &str = concat!("market-data-store/", env!("CARGO_PKG_VERSION"));

/// An event as every URL gets it, at every attempt.
#[derive(Debug)]
pub(crate) struct Webhook {
    id: String,
    body: Vec<u8>,
    /// The same without a refresh: nothing follows.
    last: Vec<u8>,
    /// Tells the signs of life of one broadcaster from those of another.
    tag: u64,
}

impl Webhook {
    /// Writes an event of which a sign of life follows so often.
    pub(crate) fn new(event: &FeedbackEvent, refresh: Option<Duration>, tag: u64) -> Result<Self, serde_json::Error> {
        let written = |refresh| serde_json::to_vec(&event.with_refresh(refresh));
        Ok(Self { id: event.id.clone(), body: written(refresh)?, last: written(None)?, tag })
    }

    /// Returns the id of a message, the same at every attempt, and its body.
    fn message(&self, sent_as: SentAs) -> (String, &[u8]) {
        match sent_as {
            SentAs::First => (self.id.clone(), &self.body),
            SentAs::Repeat(number) => (format!("{}_r{:x}_{number}", self.id, self.tag), &self.body),
            SentAs::Last => (format!("{}_last", self.id), &self.last),
        }
    }
}

/// What all requests to one URL share. Only its arbiter may use it.
pub(crate) struct Client {
    http: RefCell<awc::Client>,
    tls: Arc<ClientConfig>,
    url: Uri,
    authorization: Option<String>,
    secrets: Arc<[WebhookSecret]>,
    timeout: Duration,
    look_up_every: Duration,
}

/// How a request ended that was answered, or was not.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// 2xx. `conflict`: the receiver hears another process of the same name too.
    Delivered { status: StatusCode, conflict: bool },
    /// 410: nothing more is wanted.
    Gone,
    /// Another status, and how long the destination wants to be left alone.
    Refused(StatusCode, Option<Duration>),
    /// None in time.
    Late(Duration),
    /// No connection, or one that broke, or not HTTP.
    None(String),
}

/// The body of an answer, still to be read.
pub(crate) struct ResponseBody {
    response: ClientResponse,
    deadline: Instant,
}

impl Client {
    pub(crate) fn new(
        endpoint: &Endpoint,
        url: Uri,
        tls: Arc<ClientConfig>,
        secrets: Arc<[WebhookSecret]>,
        timeout: Duration,
        look_up_every: Duration,
    ) -> Self {
        let authorization = endpoint.user_info().map(basic);
        let http = RefCell::new(connections(Arc::clone(&tls), timeout, look_up_every));
        Self { http, tls, url, authorization, secrets, timeout, look_up_every }
    }

    /// Sends an event once.
    pub(crate) async fn post(&self, webhook: &Webhook, sent_as: SentAs) -> (Answer, Option<ResponseBody>) {
        let deadline = Instant::now() + self.timeout;
        match timeout_at(deadline, self.send(webhook, sent_as)).await {
            Ok(Ok(response)) => {
                if response.status().is_informational() {
                    // Another answer follows on its connection, and would be taken for that to the next request.
                    self.http.replace(connections(Arc::clone(&self.tls), self.timeout, self.look_up_every));
                }
                (Answer::of(response.status(), response.headers()), Some(ResponseBody { response, deadline }))
            }
            Ok(Err(error)) => (Answer::None(describe(&error)), None),
            Err(_) => (Answer::Late(self.timeout), None),
        }
    }

    async fn send(&self, webhook: &Webhook, sent_as: SentAs) -> Result<ClientResponse, SendRequestError> {
        let (id, body) = webhook.message(sent_as);
        let timestamp = signature::unix_now();
        let mut request = self
            .http
            .borrow()
            .post(&self.url)
            .insert_header((header::CONTENT_TYPE, "application/json"))
            .insert_header((header::USER_AGENT, USER_AGENT))
            .insert_header((signature::ID, id.as_str()))
            .insert_header((signature::TIMESTAMP, timestamp.to_string()));
        if !self.secrets.is_empty() {
            let signatures = signature::sign(&self.secrets, &id, timestamp, body);
            request = request.insert_header((signature::SIGNATURE, signatures));
        }
        if let Some(authorization) = &self.authorization {
            request = request.insert_header((header::AUTHORIZATION, authorization.as_str()));
        }
        request.send_body(body.to_vec()).await
    }
}

/// Makes a client without a connection yet.
fn connections(tls: Arc<ClientConfig>, timeout: Duration, look_up_every: Duration) -> awc::Client {
    // Each request has one deadline over all of its steps, so none of them needs a time of its own. A host is looked up
    // for each connection, so one that has moved is found when its connection is no longer used.
    let connector = Connector::new().timeout(timeout).handshake_timeout(timeout).conn_lifetime(look_up_every);
    let connector = connector.rustls_0_23(tls);
    awc::Client::builder().connector(connector).disable_timeout().disable_redirects().finish()
}

impl Answer {
    fn of(status: StatusCode, headers: &HeaderMap) -> Self {
        match status {
            StatusCode::GONE => Self::Gone,
            _ if status.is_success() => Self::Delivered { status, conflict: headers.contains_key(signature::CONFLICT) },
            _ => {
                let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
                let retry_after = text(header::RETRY_AFTER);
                let wait = retry_after.and_then(|wait| read_retry_after(wait, text(header::DATE), SystemTime::now()));
                Self::Refused(status, wait)
            }
        }
    }

    /// The status, if there was one.
    pub(crate) fn status(&self) -> Option<u16> {
        match self {
            Self::Delivered { status, .. } | Self::Refused(status, _) => Some(status.as_u16()),
            Self::Gone => Some(StatusCode::GONE.as_u16()),
            Self::Late(_) | Self::None(_) => None,
        }
    }
}

/// Says what went wrong; for one that was delivered, the status.
impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Delivered { status, .. } | Self::Refused(status, _) => write!(f, "HTTP status {}", status.as_u16()),
            Self::Gone => f.write_str("HTTP status 410: nothing more is wanted"),
            Self::Late(timeout) => write!(f, "no answer within {timeout:?}"),
            Self::None(problem) => f.write_str(problem),
        }
    }
}

impl ResponseBody {
    /// Reads what is left of the answer, so that its connection can be used again; one that is too long or too slow is
    /// closed instead.
    pub(crate) async fn drain(mut self) {
        let mut read = 0;
        let all = async {
            while let Some(Ok(part)) = self.response.next().await {
                read += part.len();
                if read > MAX_BODY {
                    return;
                }
            }
        };
        let _ = timeout_at(self.deadline, all).await;
    }
}

/// Reads `Retry-After`: seconds, or a date, which is seen from the destination's own clock where the answer tells it.
fn read_retry_after(text: &str, date: Option<&str>, now: SystemTime) -> Option<Duration> {
    let text = text.trim();
    let wait = if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // What does not fit is longer than anything.
        Duration::from_secs(text.parse().unwrap_or(u64::MAX))
    } else {
        let until = httpdate::parse_http_date(text).ok()?;
        let now = date.and_then(|date| httpdate::parse_http_date(date).ok()).unwrap_or(now);
        until.duration_since(now).unwrap_or_default()
    };
    Some(wait.min(MAX_RETRY_AFTER))
}

/// Says what went wrong, and nothing of the URL or of what was sent.
fn describe(error: &SendRequestError) -> String {
    match error {
        SendRequestError::Connect(ConnectError::Io(error)) => format!("cannot connect: {error}"),
        SendRequestError::Connect(ConnectError::Resolver(error)) => format!("cannot find the host: {error}"),
        SendRequestError::Connect(ConnectError::NoRecords) => "cannot find the host: it has no address".to_owned(),
        SendRequestError::Connect(ConnectError::Timeout) | SendRequestError::Timeout => "no answer in time".to_owned(),
        SendRequestError::Connect(ConnectError::Disconnected) => "the connection was closed unanswered".to_owned(),
        SendRequestError::Connect(_) => "cannot connect".to_owned(),
        SendRequestError::Send(error) => format!("the connection broke: {error}"),
        SendRequestError::Response(error) => format!("the answer is not HTTP: {error}"),
        _ => "the request cannot be sent".to_owned(),
    }
}

/// The URL as the client takes it.
pub(crate) fn uri(endpoint: &Endpoint) -> Result<Uri, InvalidEndpoint> {
    endpoint.url().parse().map_err(|_| InvalidEndpoint::Character)
}

/// The header that says user and password as the URL does.
fn basic(user_info: &str) -> String {
    let (user, password) = user_info.split_once(':').unwrap_or((user_info, ""));
    let mut credentials = decoded(user);
    credentials.push(b':');
    credentials.extend(decoded(password));
    format!("Basic {}", BASE64_STANDARD.encode(credentials))
}

/// Resolves `%` and two digits; what is none stays as it is.
fn decoded(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let digit = |at: usize| after.get(at).and_then(|&byte| char::from(byte).to_digit(16));
        match (first, digit(0), digit(1)) {
            // Two digits make a byte.
            (b'%', Some(high), Some(low)) => {
                bytes.push((high * 16 + low) as u8);
                rest = &after[2..];
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    bytes
}

/// How certificates are checked: against the roots in the file, or those that browsers trust. HTTP/1.1 alone, since a
/// lane sends one request at a time, and since the HTTP/2 code writes whole heads to its log.
pub(crate) fn tls(ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, BroadcastError> {
    let mut roots = RootCertStore::empty();
    match ca_file {
        Some(path) => {
            let invalid = |problem: String| BroadcastError::CaFile { path: path.to_owned(), problem };
            let certificates = CertificateDer::pem_file_iter(path).map_err(|error| invalid(error.to_string()))?;
            for certificate in certificates {
                let certificate = certificate.map_err(|error| invalid(error.to_string()))?;
                roots.add(certificate).map_err(|error| invalid(error.to_string()))?;
            }
            if roots.is_empty() {
                return Err(invalid("there is none in it".to_owned()));
            }
        }
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring has the ciphers of the default versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    // Red when a date is seen from our clock though the answer tells the other's, or nothing bounds a wait.
    #[test]
    fn retry_after_is_seconds_or_a_date_and_at_most_five_minutes() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        let later = Some("Sun, 06 Nov 1994 08:50:07 GMT");
        for (text, date, seconds) in [
            ("0", None, Some(0)),
            (" 120 ", None, Some(120)),
            ("301", None, Some(300)),
            ("99999999999999999999999", None, Some(300)),
            ("Sun, 06 Nov 1994 08:50:37 GMT", None, Some(60)),
            ("Sun, 06 Nov 1994 08:50:37 GMT", later, Some(30)),
            ("Sun, 06 Nov 1994 08:50:37 GMT", Some("soon"), Some(60)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", None, Some(0)),
            ("Mon, 07 Nov 1994 08:49:37 GMT", None, Some(300)),
            ("", None, None),
            ("-1", None, None),
            ("1.5", None, None),
            ("soon", None, None),
        ] {
            assert_eq!(read_retry_after(text, date, now), seconds.map(Duration::from_secs), "{text:?}");
        }
    }

    #[test]
    fn user_and_password_are_sent_decoded() {
        for (user_info, credentials) in
            [("ann:pa55", "ann:pa55"), ("ann", "ann:"), ("a%40b:c%3Ad%zz%4", "a@b:c:d%zz%4"), (":x:y", ":x:y")]
        {
            assert_eq!(basic(user_info), format!("Basic {}", BASE64_STANDARD.encode(credentials)));
        }
    }

    // Red when a connection is used for longer than a host may go without being looked up: one that has moved would not
    // be found as long as the old address answers.
    #[actix::test]
    async fn a_host_is_looked_up_again_after_a_while() {
        use std::{
            io::{BufRead, BufReader, Write},
            net::TcpListener,
            sync::atomic::{AtomicUsize, Ordering},
            thread,
        };

        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                counted.fetch_add(1, Ordering::Relaxed);
                thread::spawn(move || {
                    // Each head ends with an empty line; the body of two bytes comes with it or in front of the next
                    // head.
                    for line in BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok) {
                        if line.is_empty() {
                            stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap();
                        }
                    }
                });
            }
        });
        let look_up_every = Duration::from_millis(500);
        let (endpoint, timeout) = (url.parse().unwrap(), Duration::from_secs(30));
        let client =
            Client::new(&endpoint, uri(&endpoint).unwrap(), tls(None).unwrap(), Arc::default(), timeout, look_up_every);
        let webhook = Webhook { id: "a".to_owned(), body: b"{}".to_vec(), last: Vec::new(), tag: 0 };
        let (begun, mut posts) = (Instant::now(), 0);
        let opened = || connections.load(Ordering::Relaxed);
        // One is used more than once, and yet another is opened.
        while opened() < 2 || posts <= opened() {
            assert!(begun.elapsed() < timeout, "{} connections for {posts} requests", opened());
            let (answer, rest) = client.post(&webhook, SentAs::First).await;
            assert_eq!(answer, Answer::Delivered { status: StatusCode::NO_CONTENT, conflict: false });
            rest.unwrap().drain().await;
            posts += 1;
        }
    }

    // Red when the message does not name the variable and the file.
    #[test]
    fn a_file_without_certificates_is_refused_with_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let [missing, empty, broken] = ["missing", "empty", "broken"].map(|name| dir.path().join(name));
        std::fs::write(&empty, "no certificate\n").unwrap();
        std::fs::write(&broken, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
        for path in [missing, empty, broken] {
            let message = tls(Some(&path)).unwrap_err().to_string();
            let begin = format!("MDS_FB_HTTP_CA_FILE is {path:?}, expected a file of certificates in PEM: ");
            assert!(message.starts_with(&begin) && message.len() > begin.len(), "{message}");
        }
        tls(None).unwrap();
    }
}
