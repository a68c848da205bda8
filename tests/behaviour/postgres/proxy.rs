//! A way to a server that can be cut, held, and cut at the very moment of a commit.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU16, AtomicUsize, Ordering},
    },
    thread,
};

use futures::executor::block_on;
use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
};

use crate::support::{PATIENCE, within};

/// A proxy on a port of the loopback. It ends when it is dropped, with all its connections.
pub struct Proxy {
    port: u16,
    control: Arc<Control>,
}

struct Control {
    /// The port of the server.
    to: AtomicU16,
    way: watch::Sender<Way>,
    commits: Mutex<Commits>,
    /// How many commits were met.
    met: watch::Sender<usize>,
    /// How many connections there are.
    connections: watch::Sender<usize>,
    /// How many COPYs came to their end.
    copies: AtomicUsize,
}

/// How the way is.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    Open,
    /// Nothing passes of what the connections so far ask for; new ones pass.
    OldHeld,
    /// Every connection ends, and a new one at once.
    Cut,
    Ended,
}

/// What becomes of the commits to come.
#[derive(Clone, Copy, PartialEq)]
pub enum Commits {
    Pass,
    /// The connection is cut once the server has committed: the answer does not arrive.
    LoseAnswer,
    /// The connection is cut before the request is passed on: the server rolls back.
    CutBefore,
    /// The connection is cut as soon as the request is passed on, whatever the server makes of it.
    CutBehind,
}

impl Proxy {
    pub fn start(to: u16) -> Self {
        let (way, _) = watch::channel(Way::Open);
        let commits = Mutex::new(Commits::Pass);
        let control = Arc::new(Control {
            to: AtomicU16::new(to),
            way,
            commits,
            met: watch::Sender::new(0),
            connections: watch::Sender::new(0),
            copies: AtomicUsize::new(0),
        });
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        thread::spawn({
            let control = Arc::clone(&control);
            move || runtime.block_on(serve(listener, control))
        });
        Self { port, control }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Leads connections to come to another server.
    pub fn lead_to(&self, port: u16) {
        self.control.to.store(port, Ordering::Relaxed);
    }

    /// Ends every connection, and refuses new ones until the way is [open](Self::open) again.
    pub fn cut(&self) {
        self.control.way.send_replace(Way::Cut);
    }

    /// Holds what the connections that there are now ask for, as a way that is slow; it comes to the server when the way
    /// is [open](Self::open) again. New connections pass.
    pub fn hold_old_connections(&self) {
        self.control.way.send_replace(Way::OldHeld);
    }

    pub fn open(&self) {
        self.control.way.send_replace(Way::Open);
    }

    /// Meets the next commit so, and waits until it has; the one behind it passes.
    pub fn meet_commit(&self, commits: Commits) {
        let mut met = self.control.met.subscribe();
        met.mark_unchanged();
        *self.control.commits.lock() = commits;
        block_on(within(PATIENCE, met.changed())).unwrap();
    }

    /// Waits until so many connections are left at most.
    pub fn wait_until_closed(&self, left: usize) {
        let mut connections = self.control.connections.subscribe();
        block_on(within(PATIENCE, connections.wait_for(|connections| *connections <= left))).unwrap();
    }

    /// How many COPYs were passed on.
    pub fn copies(&self) -> usize {
        self.control.copies.load(Ordering::Relaxed)
    }

    pub fn connections(&self) -> usize {
        *self.control.connections.borrow()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.control.way.send_replace(Way::Ended);
    }
}

async fn serve(listener: std::net::TcpListener, control: Arc<Control>) {
    let listener = TcpListener::from_std(listener).unwrap();
    let mut way = control.way.subscribe();
    loop {
        let client = tokio::select! {
            accepted = listener.accept() => accepted.unwrap().0,
            _ = way.wait_for(|way| *way == Way::Ended) => return,
        };
        if *control.way.borrow() == Way::Cut {
            continue;
        }
        let to = SocketAddr::from(([127, 0, 0, 1], control.to.load(Ordering::Relaxed)));
        tokio::spawn(connect(client, to, Arc::clone(&control)));
    }
}

async fn connect(client: TcpStream, to: SocketAddr, control: Arc<Control>) {
    // The server may be away; then the client learns that the connection ends.
    let Ok(server) = TcpStream::connect(to).await else { return };
    // It passes on message by message; each would wait for the answer to the one before.
    for stream in [&client, &server] {
        stream.set_nodelay(true).unwrap();
    }
    let _counted = Counted::new(&control.connections);
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let session = Arc::new(Mutex::new(Session::default()));
    let mut way = control.way.subscribe();
    tokio::select! {
        () = requests(from_client, to_server, &session, &control) => {}
        () = answers(from_server, to_client, &session, &control) => {}
        _ = way.wait_for(|way| matches!(way, Way::Cut | Way::Ended)) => {}
    }
}

/// A connection that there is.
struct Counted<'a>(&'a watch::Sender<usize>);

impl<'a> Counted<'a> {
    fn new(connections: &'a watch::Sender<usize>) -> Self {
        connections.send_modify(|connections| *connections += 1);
        Self(connections)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|connections| *connections -= 1);
    }
}

/// What is known of a connection.
#[derive(Default)]
struct Session {
    /// The prepared statements, by name.
    statements: HashMap<Vec<u8>, Statement>,
    /// What was asked since the server was ready last.
    asked: Statement,
    is_in_transaction: bool,
    /// The answer to a commit is kept back.
    keeps_answer: bool,
}

/// What matters of a statement, or of several.
#[derive(Clone, Copy, Default)]
struct Statement {
    writes: bool,
    /// Its data follow.
    copies: bool,
    commits: bool,
}

impl Statement {
    fn of(sql: &[u8]) -> Self {
        let sql = String::from_utf8_lossy(sql).trim_start().to_ascii_uppercase();
        let begins = |word: &str| sql.starts_with(word);
        let copies = begins("COPY");
        Self { writes: begins("INSERT") || begins("WITH") || copies, copies, commits: begins("COMMIT") }
    }
}

impl Session {
    /// Takes in a message of the client. Returns whether it ends a transaction that writes: with a COMMIT, or with the end
    /// of a request outside of a transaction.
    fn request(&mut self, kind: u8, body: &[u8]) -> bool {
        let mut texts = body.split(|byte| *byte == 0);
        let mut text = || texts.next().unwrap_or_default();
        match kind {
            b'P' => {
                let name = text().to_vec();
                self.statements.insert(name, Statement::of(text()));
                return false;
            }
            b'B' => {
                let _portal = text();
                self.asked = self.statements.get(text()).copied().unwrap_or_default();
                return false;
            }
            b'Q' => self.asked = Statement::of(text()),
            b'c' => {
                self.asked.copies = false;
                return false;
            }
            b'S' => {}
            _ => return false,
        }
        let Statement { writes, copies, commits } = self.asked;
        commits || (writes && !copies && !self.is_in_transaction)
    }
}

/// Reads a message: its kind, and all of it. The first of a connection has no kind.
async fn message(from: &mut OwnedReadHalf, is_first: bool) -> std::io::Result<(u8, Vec<u8>)> {
    let kind = if is_first { 0 } else { from.read_u8().await? };
    let length = from.read_u32().await?;
    let mut all = Vec::with_capacity(length as usize + 1);
    if !is_first {
        all.push(kind);
    }
    all.extend(length.to_be_bytes());
    let head = all.len();
    all.resize(head + length as usize - 4, 0);
    from.read_exact(&mut all[head..]).await?;
    Ok((kind, all))
}

async fn requests(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, session: &Mutex<Session>, control: &Control) {
    let mut way = control.way.subscribe();
    // One that begins while old ones are held is no old one.
    way.mark_unchanged();
    let (mut is_first, is_new) = (true, *way.borrow() == Way::OldHeld);
    while let Ok((kind, all)) = message(&mut from, is_first).await {
        if !is_new {
            let _ = way.wait_for(|way| *way != Way::OldHeld).await;
        }
        let ends = !is_first && session.lock().request(kind, &all[5..]);
        is_first = false;
        if kind == b'c' {
            control.copies.fetch_add(1, Ordering::Relaxed);
        }
        let mut met = Commits::Pass;
        if ends {
            met = std::mem::replace(&mut *control.commits.lock(), met);
        }
        // Before the server can answer.
        session.lock().keeps_answer |= met == Commits::LoseAnswer;
        if met != Commits::CutBefore && to.write_all(&all).await.is_err() {
            return;
        }
        if matches!(met, Commits::CutBefore | Commits::CutBehind) {
            control.met.send_modify(|met| *met += 1);
            return;
        }
    }
}

async fn answers(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, session: &Mutex<Session>, control: &Control) {
    let mut kept = Vec::new();
    let mut is_error = false;
    while let Ok((kind, all)) = message(&mut from, false).await {
        kept.extend_from_slice(&all);
        is_error |= kind == b'E';
        let (is_kept, is_settled) = {
            let mut session = session.lock();
            if kind == b'Z' {
                session.is_in_transaction = all.get(5) != Some(&b'I');
                session.asked = Statement::default();
            }
            (session.keeps_answer, kind == b'Z' && !session.is_in_transaction)
        };
        if is_kept && !is_settled {
            continue;
        }
        if is_kept && !is_error {
            // The server has committed, and is ready for what comes next.
            control.met.send_modify(|met| *met += 1);
            return;
        }
        if is_kept {
            // Nothing was committed: the next one it is.
            session.lock().keeps_answer = false;
            *control.commits.lock() = Commits::LoseAnswer;
        }
        is_error = false;
        if to.write_all(&kept).await.is_err() {
            return;
        }
        kept.clear();
    }
}
