//! Where a database is, and how it is used: the URL and what the settings say beside it.

use std::{sync::Arc, time::Duration};

use tokio::time::timeout;
use tokio_postgres::{
    Config,
    config::{Host, LoadBalanceHosts},
};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{
    error::{PostgresError, ServerError},
    tls::TlsOptions,
};

/// How a PostgreSQL database is used: what a URL does not say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PostgresOptions {
    /// Whether rows that are new may go by COPY.
    pub(crate) copies: bool,
    /// How long the server may take for one statement.
    pub(crate) statement_timeout: Duration,
    /// The most connections.
    pub(crate) connections: usize,
    /// The schema of the tables; none means the first of the search path.
    pub(crate) schema: Option<String>,
    /// Whether tables are made, and new columns added.
    pub(crate) migrates: bool,
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self { copies: true, statement_timeout: Duration::from_secs(20), connections: 10, schema: None, migrates: true }
    }
}

/// How long opening a connection may take in all, unless the URL says so.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// After so long without a word the system asks whether the other end is there, so often, so many times.
const KEEPALIVE: (Duration, Duration, u32) = (Duration::from_secs(15), Duration::from_secs(5), 3);
/// What tokio-postgres has where the URL says nothing.
const KEEPALIVE_OF_DRIVER: Duration = Duration::from_secs(2 * 60 * 60);
/// How long what was sent may stay unacknowledged.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(30);

const EXPECTED: &str = "postgres://USER:PASSWORD@HOST:PORT/DATABASE?OPTION=VALUE&..., with what is special in a password \
                        written as %XX";

/// The options of a URL that the driver reads; those of TLS are read here.
const OPTIONS: &[&str] = &[
    "user",
    "password",
    "dbname",
    "options",
    "application_name",
    "sslnegotiation",
    "host",
    "hostaddr",
    "port",
    "connect_timeout",
    "tcp_user_timeout",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_retries",
    "target_session_attrs",
    "channel_binding",
    "load_balance_hosts",
];

/// Where a database is.
#[derive(Clone)]
pub(super) struct Target {
    /// A configuration a host, in the order of the URL.
    hosts: Vec<Config>,
    pub(super) tls: MakeRustlsConnect,
    /// How long opening a connection to one host may take.
    connect_timeout: Duration,
    /// The URL as it may be shown.
    pub(super) shown: Arc<str>,
}

impl Target {
    /// Takes a URL apart.
    ///
    /// # Errors
    /// Says what is wrong with it. Neither the URL nor a value in it is shown, as it may be a password.
    pub(super) fn of_url(url: &str) -> Result<Self, PostgresError> {
        let refused = |problem: String, expected: &str| PostgresError::Url { problem, expected: expected.to_owned() };
        let mut tls = TlsOptions::default();
        let (head, query) = url.split_once('?').unwrap_or((url, ""));
        // An option's name is shown, and so are host and database: none may be a piece of a password.
        if query.contains('@') {
            return Err(refused("has an `@` behind a `?`".to_owned(), EXPECTED));
        }
        if head.matches('@').count() > 1 {
            return Err(refused("has more than one `@`".to_owned(), EXPECTED));
        }
        let mut rest = Vec::new();
        for option in query.split('&').filter(|option| !option.is_empty()) {
            let Some((name, value)) = option.split_once('=') else {
                return Err(refused("has an option without `=`".to_owned(), EXPECTED));
            };
            let place = match name {
                "sslmode" => &mut tls.mode,
                "sslrootcert" => &mut tls.root,
                "sslcert" => &mut tls.certificate,
                "sslkey" => &mut tls.key,
                _ if OPTIONS.contains(&name) => {
                    rest.push(option);
                    continue;
                }
                _ => {
                    let known = format!("one of sslmode, sslrootcert, sslcert, sslkey, {}", OPTIONS.join(", "));
                    return Err(refused(format!("has the option {name:?}, which is not known"), &known));
                }
            };
            let Some(value) = decoded(value) else {
                return Err(refused(format!("has a value of `{name}` that is no text"), EXPECTED));
            };
            *place = Some(value);
        }
        let read = |head: &str, options: &[&str]| {
            let url = if options.is_empty() { head.to_owned() } else { format!("{head}?{}", options.join("&")) };
            // What the driver says may hold a piece of the URL.
            url.parse::<Config>().map_err(|_| refused("cannot be read".to_owned(), EXPECTED))
        };
        let all = read(head, &rest)?;
        let (names, addresses, ports) = (all.get_hosts(), all.get_hostaddrs(), all.get_ports());
        let hosts = names.len().max(addresses.len());
        if hosts == 0 {
            return Err(refused("names no host".to_owned(), EXPECTED));
        }
        let is_for_each = |len: usize| len <= 1 || len == hosts;
        if !(is_for_each(ports.len()) && [0, hosts].contains(&names.len()) && [0, hosts].contains(&addresses.len())) {
            return Err(refused("has another number of hosts than of addresses or ports".to_owned(), EXPECTED));
        }
        // The same without hosts.
        let of_hosts = |option: &&str| ["host=", "hostaddr=", "port="].iter().any(|name| option.starts_with(name));
        rest.retain(|option| !of_hosts(option));
        let behind = |text: &str| head.find(text).map(|at| at + text.len());
        let (before, place) = head.split_at(behind("@").or_else(|| behind("://")).unwrap_or_default());
        let path = place.find('/').map_or("", |at| &place[at..]);
        let mut config = read(&[before, path].concat(), &rest)?;
        let (mode, connector) = tls.connector()?;
        config.ssl_mode(mode);
        if config.get_application_name().is_none() {
            config.application_name("market-data-store");
        }
        let connect_timeout = *config.get_connect_timeout().unwrap_or(&CONNECT_TIMEOUT);
        // Of each address of a host; the whole of a host is limited too.
        config.connect_timeout(connect_timeout);
        if config.get_keepalives_idle() == KEEPALIVE_OF_DRIVER {
            config.keepalives_idle(KEEPALIVE.0);
        }
        if config.get_keepalives_interval().is_none() {
            config.keepalives_interval(KEEPALIVE.1);
        }
        if config.get_keepalives_retries().is_none() {
            config.keepalives_retries(KEEPALIVE.2);
        }
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(TCP_USER_TIMEOUT);
        }
        let hosts = (0..hosts).map(|at| {
            let mut config = config.clone();
            match names.get(at) {
                Some(Host::Tcp(name)) => _ = config.host(name),
                #[cfg(unix)]
                Some(Host::Unix(path)) => _ = config.host_path(path),
                None => {}
            }
            if let Some(address) = addresses.get(at) {
                config.hostaddr(*address);
            }
            if let Some(port) = ports.get(at).or(ports.first()) {
                config.port(*port);
            }
            config
        });
        Ok(Self { hosts: hosts.collect(), tls: connector, connect_timeout, shown: shown(&all).into() })
    }

    /// Opens a connection to the first host that takes it, in their order. Each has time of its own: else one that does
    /// not answer would leave none for the others.
    ///
    /// # Errors
    /// What the last one says.
    pub(super) async fn open<C>(
        &self,
        open: impl AsyncFn(&Config) -> Result<C, tokio_postgres::Error>,
    ) -> Result<C, PostgresError> {
        let mut hosts: Vec<&Config> = self.hosts.iter().collect();
        if hosts.iter().any(|host| host.get_load_balance_hosts() == LoadBalanceHosts::Random) {
            fastrand::shuffle(&mut hosts);
        }
        let mut refused: Box<dyn std::error::Error + Send + Sync> = "the URL names no host".into();
        for host in hosts {
            refused = match timeout(self.connect_timeout, open(host)).await {
                Ok(Ok(opened)) => return Ok(opened),
                Ok(Err(error)) => ServerError(error).into(),
                Err(_) => format!("no answer within {} s", self.connect_timeout.as_secs_f64()).into(),
            };
        }
        Err(PostgresError::Server { database: self.shown.to_string(), step: "open a connection", source: refused })
    }
}

/// Writes host, port and database: what tells one from another, and nothing of the user.
fn shown(config: &Config) -> String {
    let ports = config.get_ports();
    let hosts = config.get_hosts().iter().map(|host| match host {
        Host::Tcp(name) => name.clone(),
        #[cfg(unix)]
        Host::Unix(path) => path.to_string_lossy().into_owned(),
    });
    let mut hosts: Vec<String> = hosts.collect();
    if hosts.is_empty() {
        hosts = config.get_hostaddrs().iter().map(ToString::to_string).collect();
    }
    for (at, host) in hosts.iter_mut().enumerate() {
        let port = ports.get(at).or_else(|| ports.first()).copied().unwrap_or(5432);
        if port != 5432 {
            host.push_str(&format!(":{port}"));
        }
    }
    let database = config.get_dbname().or_else(|| config.get_user()).unwrap_or_default();
    format!("postgres://{}/{database}", hosts.join(","))
}

/// Reads `%XX`; none where that is no text.
fn decoded(value: &str) -> Option<String> {
    let (mut bytes, mut rest) = (Vec::with_capacity(value.len()), value.as_bytes());
    while let Some((first, behind)) = rest.split_first() {
        rest = behind;
        let hex = |at: usize| behind.get(at).and_then(|digit| char::from(*digit).to_digit(16));
        match (first, hex(0), hex(1)) {
            (b'%', Some(high), Some(low)) => {
                // The cast holds: two hexadecimal digits.
                bytes.push((high * 16 + low) as u8);
                rest = &behind[2..];
            }
            _ => bytes.push(*first),
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use tokio_postgres::config::SslMode;

    use super::*;

    fn refused(url: &str) -> String {
        let error = Target::of_url(url).err().unwrap_or_else(|| panic!("{url} is taken"));
        assert!(error.is_of_url());
        error.to_string()
    }

    // Red when an option is passed over, or what the URL says is replaced by a default.
    #[test]
    fn a_url_says_where_the_database_is_and_how_it_is_reached() {
        let target = Target::of_url("postgres://ann:p%40ss@db:5433/bars").unwrap();
        assert_eq!(&*target.shown, "postgres://db:5433/bars");
        assert_eq!(target.hosts[0].get_password(), Some(&b"p@ss"[..]));
        assert_eq!(target.hosts[0].get_ssl_mode(), SslMode::Prefer);
        assert_eq!(target.hosts[0].get_keepalives_idle(), KEEPALIVE.0);
        assert_eq!(target.connect_timeout, CONNECT_TIMEOUT);
        let url =
            "postgresql://a,b:6000/x?user=ann&sslmode=require&connect_timeout=2&keepalives_idle=9&application_name=me";
        let target = Target::of_url(url).unwrap();
        assert_eq!(&*target.shown, "postgres://a,b:6000/x");
        assert_eq!(target.hosts[0].get_ssl_mode(), SslMode::Require);
        assert_eq!(
            (target.connect_timeout, target.hosts[0].get_keepalives_idle().as_secs()),
            (Duration::from_secs(2), 9)
        );
        assert_eq!(target.hosts[0].get_application_name(), Some("me"));
        let each =
            |target: &Target, at: usize| (target.hosts[at].get_hosts().to_vec(), target.hosts[at].get_ports().to_vec());
        assert_eq!(target.hosts.len(), 2);
        assert_eq!(each(&target, 0), (vec![Host::Tcp("a".to_owned())], vec![5432]));
        assert_eq!(each(&target, 1), (vec![Host::Tcp("b".to_owned())], vec![6000]));
        assert!(target.hosts.iter().all(|host| host.get_user() == Some("ann") && host.get_dbname() == Some("x")));
        let target = Target::of_url("postgres:///x?host=b&port=6000&user=ann").unwrap();
        assert_eq!(each(&target, 0), (vec![Host::Tcp("b".to_owned())], vec![6000]));
        let target = Target::of_url("postgres://ann:p/w@a/x").unwrap();
        assert_eq!(target.hosts[0].get_password(), Some(&b"p/w"[..]));
        assert_eq!(
            &*Target::of_url("postgres://u@%2Frun%2Fpg/x?sslmode=disable").unwrap().shown,
            "postgres:///run/pg/x"
        );
    }

    // Red when a URL is taken that means something else than it says, or a piece of a password is shown.
    #[test]
    fn what_is_wrong_with_a_url_is_said_without_a_password() {
        for (url, said) in [
            ("postgres://u:s3cret@h/db?sslmode=allow", "`sslmode` that is not known: expected one of disable, prefer"),
            ("postgres://u:s3cret@h/db?pool=3", "the option \"pool\", which is not known: expected one of sslmode"),
            ("postgres://u:s3cret@h/db?sslmode", "has an option without `=`"),
            ("postgres://u:s3cret@h:port/db", "cannot be read"),
            ("postgres://u:x?s3cret=s3cret@h/db", "has an `@` behind a `?`"),
            ("postgres://u:x@s3cret@h/db", "has more than one `@`"),
            ("postgres://u:x@y/s3cret@h/db", "has more than one `@`"),
            ("postgres://a,b,c/db?hostaddr=127.0.0.1", "has another number of hosts than of addresses or ports"),
            ("postgres:///db", "names no host"),
            ("postgres://u@h/db?sslcert=a.pem", "has one of `sslcert` and `sslkey`: expected both or neither"),
            (
                "postgres://u@h/db?sslmode=verify-ca&sslrootcert=/no/such.pem",
                "sslrootcert: cannot read /no/such.pem as",
            ),
        ] {
            let error = refused(url);
            assert!(error.contains(said) && !error.contains("s3cret"), "{url}: {error}");
        }
    }
}
