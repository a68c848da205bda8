//! PostgreSQL: the servers of the tests, and what holds while a server, its connections and its locks fail.

mod faults;
mod load;
mod migrations;
mod order;
mod overtaking;
mod paths;
mod proxy;
mod schema;
pub mod server;
pub mod timescale;
mod tls;
mod triggers;
mod unfit;

use std::{
    io::{BufRead, BufReader, Read},
    process::{Command, Stdio},
};

use self::server::Server;

/// What makes a process the child of `a_server_does_not_outlive_a_test_process_that_is_killed`.
const HOLDER: &str = "MDS_TEST_POSTGRES_HOLDER";

// Red when a test process that is killed leaves a server or its files behind.
#[test]
fn a_server_does_not_outlive_a_test_process_that_is_killed() {
    if std::env::var_os(HOLDER).is_some() {
        let server = Server::start("");
        println!("\nserver {}", server.data().display());
        std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
        return;
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    let test = "postgres::a_server_does_not_outlive_a_test_process_that_is_killed";
    command.args(["--exact", test, "--nocapture"]).env(HOLDER, "").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut lines = stdout.by_ref().lines().map(Result::unwrap);
    let data = lines.find_map(|line| line.strip_prefix("server ").map(std::path::PathBuf::from)).unwrap();
    assert!(data.join("postmaster.pid").exists());
    child.kill().unwrap();
    child.wait().unwrap();
    // What looks after the server has the same output: it ends with the last of them.
    stdout.read_to_end(&mut Vec::new()).unwrap();
    assert!(!data.exists(), "{} is left", data.display());
}

// Red when a server that is to have crashed loses what was committed, or comes back on another port.
#[test]
fn a_server_crashes_and_recovers() {
    let server = Server::start("");
    let database = server.database();
    database.run("CREATE TABLE kept (n bigint); INSERT INTO kept VALUES (7)");
    let mut connected = database.admin();
    server.crash();
    assert!(connected.simple_query("SELECT 1").is_err());
    server.recover();
    assert_eq!(database.number("SELECT n FROM kept"), 7);
}
