//! A PostgreSQL of the test process's own: made anew, on a port of the loopback, and gone with the process however that
//! ends.

use std::{
    ffi::OsStr,
    fs::{File, read_dir, read_to_string, write},
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    os::unix::{fs::chown, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{
        LazyLock,
        atomic::{AtomicUsize, Ordering},
        mpsc::channel,
    },
    thread,
    time::Instant,
};

use parking_lot::Mutex;
use postgres::{Client, NoTls};

use crate::support::PATIENCE;

/// Runs the server until its standard input says `keep` or ends, and ends it then as if it crashed; without `keep` its
/// files go too. The other end of that input is in the test process: a server does not outlive one that is killed.
const SUPERVISOR: &str = r#"dir=$1; shift
"$@" & server=$!
read -r word
kill -QUIT "$server"; wait "$server"
[ "$word" = keep ] || rm -rf "$dir""#;

/// What holds for all servers. A crash of the server loses nothing without `fsync`, only one of the machine does.
const CONFIGURATION: &str = "
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
fsync = off
shared_buffers = 32MB
";

/// The role that owns the databases of tests: as in production it is no superuser.
const OWNER: &str = "mds";

/// The role that needs a password.
pub const GUARDED: &str = "guarded";

/// The connections to this database that are not those of a test.
const BACKENDS: &str = "pg_stat_activity WHERE datname = current_database() AND application_name <> 'test' AND backend_type = 'client backend'";

/// A server. It ends when it is dropped.
pub struct Server {
    data: Data,
    port: u16,
    running: Mutex<Option<Running>>,
    databases: AtomicUsize,
}

impl Server {
    /// Returns the server that all tests of this process share. Each takes a database of its own.
    pub fn shared() -> &'static Self {
        static SHARED: LazyLock<Server> = LazyLock::new(|| Server::start(""));
        &SHARED
    }

    /// Starts a server for a test that stops it, or that sets what holds for a whole server.
    pub fn start(configuration: &str) -> Self {
        let data = Data::initialized();
        let mut file = File::options().append(true).open(data.path().join("postgresql.conf")).unwrap();
        file.write_all([CONFIGURATION, configuration, "\n"].concat().as_bytes()).unwrap();
        let started = (0..5).find_map(|_| {
            // Another process may take the port before the server does.
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            Running::start(&data, port).map_err(|log| println!("{log}")).ok().map(|running| (running, port))
        });
        let (running, port) = started.expect("a server starts");
        let server = Self { data, port, running: Mutex::new(Some(running)), databases: AtomicUsize::new(0) };
        let roles = format!("CREATE ROLE {OWNER} LOGIN; CREATE ROLE {GUARDED} LOGIN PASSWORD 'first' IN ROLE {OWNER}");
        server.admin("postgres").batch_execute(&roles).unwrap();
        server
    }

    /// Ends it as `pg_ctl stop -m immediate` does, as if it crashed: all connections end, and what is not committed goes.
    pub fn crash(&self) {
        self.running.lock().take().expect("it runs").end("keep");
    }

    /// Starts it again behind a crash, on the same port. It recovers what was committed.
    pub fn recover(&self) {
        let running = Running::start(&self.data, self.port);
        *self.running.lock() = Some(running.unwrap_or_else(|log| panic!("it does not start again:\n{log}")));
    }

    /// The directory of its files.
    pub fn data(&self) -> &Path {
        self.data.path()
    }

    /// Makes an empty database.
    pub fn database(&self) -> TestDatabase {
        self.database_with("")
    }

    /// Makes an empty database whose files are in a directory of this test's own, on another disk say.
    pub fn database_in(&self, dir: &Path) -> TestDatabase {
        give_to_other_user(dir);
        self.admin("postgres").batch_execute(&format!("CREATE TABLESPACE other LOCATION '{}'", dir.display())).unwrap();
        self.database_with("TABLESPACE other")
    }

    fn database_with(&self, options: &str) -> TestDatabase {
        let name = format!("t{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.admin("postgres").batch_execute(&format!("CREATE DATABASE {name} OWNER {OWNER} {options}")).unwrap();
        TestDatabase { port: self.port, name }
    }

    fn admin(&self, database: &str) -> Client {
        admin(self.port, database)
    }
}

fn admin(port: u16, database: &str) -> Client {
    // Also where a test has made a database read-only.
    let options = "application_name=test options='-c default_transaction_read_only=off'";
    let at = format!("host=127.0.0.1 port={port} user=postgres dbname={database} {options}");
    Client::connect(&at, NoTls).unwrap_or_else(|error| panic!("the test's own connection: {error}"))
}

/// A database of one test.
pub struct TestDatabase {
    port: u16,
    name: String,
}

impl TestDatabase {
    /// Its URL, as its owner.
    pub fn url(&self) -> String {
        self.url_at(self.port)
    }

    /// Its URL where a proxy listens on another port.
    pub fn url_at(&self, port: u16) -> String {
        format!("postgres://{OWNER}@127.0.0.1:{port}/{}?sslmode=disable", self.name)
    }

    /// Its URL, as the role that needs a password, which is `first`.
    pub fn guarded_url(&self) -> String {
        self.url().replace(OWNER, &format!("{GUARDED}:first"))
    }

    /// The port of its server.
    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// A connection as superuser, for what the test itself does and looks at.
    pub fn admin(&self) -> Client {
        admin(self.port, &self.name)
    }

    /// Ends all connections but those of tests. Returns how many that were.
    pub fn end_backends(&self) -> i64 {
        self.number(&format!("SELECT count(pg_terminate_backend(pid)) FROM {BACKENDS}"))
    }

    /// Ends one connection, any. Returns whether there was one.
    pub fn end_a_backend(&self) -> bool {
        let one = format!("SELECT pid FROM {BACKENDS} ORDER BY random() LIMIT 1");
        self.number(&format!("SELECT count(pg_terminate_backend(pid)) FROM ({one}) AS one")) == 1
    }

    /// Waits until it has no connections but those of tests.
    pub fn wait_until_left(&self) {
        let (begun, mut client) = (Instant::now(), self.admin());
        let backends = format!("SELECT count(*) FROM {BACKENDS}");
        while client.query_one(&backends, &[]).unwrap().get::<_, i64>(0) > 0 {
            assert!(begun.elapsed() < PATIENCE, "connections are left:\n{}", self.activity());
        }
    }

    /// What its connections do, for the message of a test that fails.
    pub fn activity(&self) -> String {
        let sql = "SELECT string_agg(format('%s %s %s %s: %s', pid, application_name, state, wait_event, query), E'\n')
                   FROM pg_stat_activity WHERE datname = current_database()";
        self.admin().query_one(sql, &[]).unwrap().get(0)
    }

    /// Runs statements as superuser.
    pub fn run(&self, sql: &str) {
        self.admin().batch_execute(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// The one number that a query returns, a bigint.
    pub fn number(&self, sql: &str) -> i64 {
        self.admin().query_one(sql, &[]).unwrap_or_else(|error| panic!("{sql}: {error}")).get(0)
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        // Unless the server is down: then it goes with it.
        let at = format!("host=127.0.0.1 port={} user=postgres dbname=postgres", self.port);
        if let Ok(mut client) = Client::connect(&at, NoTls) {
            let _ = client.batch_execute(&format!("DROP DATABASE {} WITH (FORCE)", self.name));
        }
    }
}

/// A server process, or what looks after it.
struct Running {
    supervisor: Child,
    stdin: Option<ChildStdin>,
}

impl Running {
    /// Returns once it takes connections. Otherwise with what it says.
    fn start(data: &Data, port: u16) -> Result<Self, String> {
        let mut command = as_another_user("sh");
        command.args(["-c", SUPERVISOR, "sh"]).arg(data.path()).arg(program("postgres"));
        command.arg("-D").arg(data.path()).args(["-p", &port.to_string()]);
        // A signal to the group of the test process is none for the server.
        command.process_group(0).stdin(Stdio::piped()).stderr(Stdio::piped());
        let mut supervisor = command.spawn().unwrap();
        let stdin = supervisor.stdin.take();
        let stderr = BufReader::new(supervisor.stderr.take().unwrap());
        let running = Self { supervisor, stdin };
        let (sender, log) = channel();
        // Until the end, for a server that cannot log waits.
        thread::spawn(move || stderr.lines().map_while(Result::ok).for_each(|line| drop(sender.send(line))));
        let (begun, mut said) = (Instant::now(), String::new());
        while let Ok(line) = log.recv_timeout(PATIENCE.saturating_sub(begun.elapsed())) {
            if line.contains("ready to accept connections") {
                return Ok(running);
            }
            said += &format!("{line}\n");
            // Another FATAL is told to a client that comes too early.
            if line.contains("FATAL:  could not") {
                break;
            }
        }
        running.end("keep");
        Err(said)
    }

    fn end(mut self, word: &str) {
        if let Some(mut stdin) = self.stdin.take() {
            let _ = writeln!(stdin, "{word}");
        }
        let _ = self.supervisor.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.stdin.take());
        let _ = self.supervisor.wait();
    }
}

/// The directory of a cluster, which belongs to the user that the server runs as.
struct Data(tempfile::TempDir);

impl Data {
    /// Makes a cluster that trusts everyone on this machine, but for the role that needs a password.
    fn initialized() -> Self {
        let dir = tempfile::Builder::new().prefix("mds-postgres-").tempdir().unwrap();
        give_to_other_user(dir.path());
        let data = Self(dir);
        let mut initdb = as_another_user(program("initdb"));
        initdb.args(["--no-sync", "--auth", "trust", "--username", "postgres", "--encoding", "UTF8", "--locale", "C"]);
        succeed(initdb.arg("-D").arg(data.path()));
        let hba = data.path().join("pg_hba.conf");
        let rules = read_to_string(&hba).unwrap();
        write(&hba, format!("host all {GUARDED} 127.0.0.1/32 scram-sha-256\n{rules}")).unwrap();
        data
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

fn succeed(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A program of the newest PostgreSQL here, or of that in the directory of `MDS_TEST_POSTGRES`.
fn program(name: &str) -> PathBuf {
    if let Some(dir) = std::env::var_os("MDS_TEST_POSTGRES") {
        return Path::new(&dir).join(name);
    }
    let versions = read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = versions.max_by_key(|dir| dir.file_name().to_str().and_then(|version| version.parse::<u32>().ok()));
    let dir =
        newest.expect("no PostgreSQL in /usr/lib/postgresql: run tests/setup.sh, or set MDS_TEST_POSTGRES").path();
    dir.join("bin").join(name)
}

/// The server refuses to run as root.
fn as_another_user(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("unshare");
    match other_user() {
        OtherUser::InNamespace => _ = command.args(["--user", "--map-user=65534", "--map-group=65534"]).arg(program),
        OtherUser::None => command = Command::new(program),
        OtherUser::Number(number) => {
            command = Command::new(program);
            command.uid(number).gid(number);
        }
    }
    // Not the directory of the test, which another user may not enter.
    command.current_dir("/").env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command
}

fn give_to_other_user(dir: &Path) {
    if let OtherUser::Number(number) = other_user() {
        chown(dir, Some(number), None).unwrap();
    }
}

/// The user to run as in the place of root.
#[derive(Clone, Copy)]
enum OtherUser {
    /// This one is not root.
    None,
    Number(u32),
    /// There is no other one, as root is an ordinary user who is called so in a namespace of his own: in one more
    /// namespace he is not.
    InNamespace,
}

fn other_user() -> OtherUser {
    static USER: LazyLock<OtherUser> = LazyLock::new(|| {
        let id = |args: &[&str]| -> u32 {
            let output = Command::new("id").args(args).output().unwrap();
            String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
        };
        // The last number is how many users there are.
        let is_alone = || {
            let map = read_to_string("/proc/self/uid_map");
            map.is_ok_and(|map| map.split_whitespace().last() == Some("1"))
        };
        match id(&["-u"]) {
            0 if is_alone() => OtherUser::InNamespace,
            0 => OtherUser::Number(id(&["-u", "nobody"])),
            _ => OtherUser::None,
        }
    });
    *USER
}
