//! TimescaleDB of the test process's own: an engine in memory, by node, for one connection at a time.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::LazyLock,
};

use parking_lot::{Mutex, MutexGuard};
use postgres::{Client, NoTls};

/// What the session keeps of the connections before: statements, and tables.
const ANEW: &str = "
DEALLOCATE ALL;
DO $$
DECLARE name text;
BEGIN
    FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' LOOP
        EXECUTE format('DROP TABLE public.%I CASCADE', name);
    END LOOP;
END $$";

/// The engine, for one test: it has one session, which is the same for all connections.
pub struct Timescale(MutexGuard<'static, Engine>);

struct Engine {
    port: u16,
    /// Ends when its standard input does, so with the test process too.
    node: Child,
}

impl Timescale {
    /// Waits until no other test has it, and takes it, without any table.
    pub fn take() -> Self {
        static ENGINE: LazyLock<Mutex<Engine>> = LazyLock::new(|| Mutex::new(Engine::start()));
        let mut this = Self(ENGINE.lock());
        // What ends it is the fault of one test alone.
        if this.0.node.try_wait().unwrap().is_some() {
            *this.0 = Engine::start();
        }
        this.client().batch_execute(ANEW).unwrap_or_else(|error| panic!("{error:?}"));
        this
    }

    pub fn url(&self) -> String {
        format!("postgres://postgres:any@127.0.0.1:{}/postgres?sslmode=disable", self.0.port)
    }

    /// A connection of the test's own. The next one has to wait until it ends.
    pub fn client(&self) -> Client {
        let at = format!("host=127.0.0.1 port={} user=postgres password=any dbname=postgres", self.0.port);
        Client::connect(&at, NoTls).unwrap_or_else(|error| panic!("the test's own connection: {error:?}"))
    }
}

impl Engine {
    fn start() -> Self {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/timescaledb");
        assert!(dir.join("complete").exists(), "no TimescaleDB in target/timescaledb: run tests/setup.sh");
        let mut command = Command::new("node");
        command.arg("server.mjs").current_dir(&dir).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut node = command.spawn().unwrap_or_else(|error| panic!("node: {error}"));
        let mut lines = BufReader::new(node.stdout.take().unwrap()).lines();
        let port = lines.find_map(|line| line.unwrap().strip_prefix("listens on 127.0.0.1:")?.parse().ok());
        std::thread::spawn(move || lines.for_each(drop));
        Self { port: port.expect("it says on which port it listens"), node }
    }
}
