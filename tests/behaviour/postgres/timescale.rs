//! TimescaleDB of the test process's own: an engine in memory, by node, for one connection at a time.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::LazyLock,
    time::Instant,
};

use futures::executor::block_on;
use market_data_store::{Bar, Database, Health, MarketDataStore, coordinator::CircuitState};
use parking_lot::{Mutex, MutexGuard};
use postgres::{Client, NoTls};

use super::{load::settings, proxy::Proxy};
use crate::{
    contract::{Store, assert_stored},
    dlq_command::bar,
    support::{PATIENCE, within},
};

/// What the session keeps of the connections before: statements, and tables.
const ANEW: &str = "
DEALLOCATE ALL;
RESET timescaledb.max_tuples_decompressed_per_dml_transaction;
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
        self.url_at(self.0.port)
    }

    /// Its URL where a proxy listens on another port.
    fn url_at(&self, port: u16) -> String {
        format!("postgres://postgres:any@127.0.0.1:{port}/postgres?sslmode=disable")
    }

    /// Lets go of the statements of other processes, whose names one that comes may use again.
    #[cfg(feature = "sqlite")]
    pub fn forget_statements(&self) {
        self.client().batch_execute("DEALLOCATE ALL").unwrap_or_else(|error| panic!("{error:?}"));
    }

    /// Ends it, with all that it has in memory.
    fn kill(&mut self) {
        self.0.node.kill().unwrap();
        self.0.node.wait().unwrap();
    }

    /// Starts it again, empty, on another port.
    fn start_again(&mut self) {
        *self.0 = Engine::start();
    }

    /// A connection of the test's own, once the one before has ended. The next one has to wait until it ends.
    pub fn client(&self) -> Client {
        let at = format!("host=127.0.0.1 port={} user=postgres password=any dbname=postgres", self.0.port);
        let begun = Instant::now();
        loop {
            match Client::connect(&at, NoTls) {
                Ok(client) => return client,
                Err(error) if begun.elapsed() > PATIENCE => panic!("the test's own connection: {error:?}"),
                Err(_) => std::thread::yield_now(),
            }
        }
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

// Red when updates of rows that are compressed meet TimescaleDB's limit of what one statement decompresses: an outage
// without end.
#[test]
fn updates_of_compressed_rows_meet_no_limit() {
    let engine = Timescale::take();
    let bars = |close| (0..100).map(|minute| Bar { close, high: close, ..bar("ES", minute) }).collect::<Vec<_>>();
    engine.write(bars(1.0)).unwrap();
    // One session is that of all connections.
    engine
        .client()
        .batch_execute(
            "ALTER TABLE bars SET (timescaledb.compress, timescaledb.compress_orderby = 'ts',
                                   timescaledb.compress_segmentby = 'vendor, symbol, timeframe, adjustment');
             SELECT compress_chunk(chunk) FROM show_chunks('bars') AS chunk;
             SET timescaledb.max_tuples_decompressed_per_dml_transaction = 10",
        )
        .unwrap();
    engine.write(bars(2.0)).unwrap();
    assert_stored(&engine, &bars(2.0));
}

// Red when an engine that ends costs a record that was not acknowledged, or when an empty table is made in the place of one
// that was there: then its data are gone and nobody is told.
#[test]
fn an_engine_that_comes_back_empty_is_an_outage_until_its_tables_are_there() {
    let mut engine = Timescale::take();
    let proxy = Proxy::start(engine.0.port);
    let (dir, url) = (tempfile::tempdir().unwrap(), engine.url_at(proxy.port()));
    let with = [("MDS_PG_COPY", "never"), ("MDS_PG_CONNECTIONS", "1"), ("MDS_COORDINATOR_WORKERS", "1")];
    let store = MarketDataStore::spawn(settings(&url, dir.path(), &with)).unwrap();
    let handle = store.coordinator::<Bar>().unwrap();
    let submit = |minutes: std::ops::Range<i64>| {
        block_on(handle.submit_many(minutes.map(|minute| bar("ES", minute)))).unwrap();
    };
    let wait_until = |what: &str, is: &dyn Fn(&Health) -> bool| {
        let begun = Instant::now();
        loop {
            let health = block_on(within(PATIENCE, handle.health()));
            if is(&health) {
                return health;
            }
            assert!(begun.elapsed() < PATIENCE, "never {what}: {health:#?}");
            std::thread::yield_now();
        }
    };
    submit(0..900);
    wait_until("under load", &|health| health.stored > 0);
    engine.kill();
    let away = wait_until("away", &|health| health.circuit != CircuitState::Closed);
    assert!(away.stored < 900, "it ended behind the load");
    engine.start_again();
    proxy.lead_to(engine.0.port);
    let is_told = |error: &str| error.contains("it was there before") && error.contains("CREATE TABLE");
    let empty = wait_until("told", &|health| health.last_error.as_ref().is_some_and(|error| is_told(error)));
    assert_eq!((empty.stored, empty.dead_lettered), (away.stored, 0));

    // It takes one connection at a time.
    proxy.cut();
    proxy.wait_until_closed(0);
    for statement in Database::connect(&url).unwrap().table_sql::<Bar>() {
        engine.client().batch_execute(&statement).unwrap();
    }
    proxy.open();
    let report = block_on(within(PATIENCE, store.finish(PATIENCE)));
    assert_eq!((report.stored(), report.dead_lettered()), (900, 0));
    // What was acknowledged before went with the memory of the engine, and nothing else did.
    let expected: Vec<_> = (away.stored as i64..900).map(|minute| bar("ES", minute)).collect();
    assert_stored(&engine, &expected);
}
