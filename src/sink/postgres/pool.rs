//! The connections: opened when a worker needs one, at most so many, and closed when none has needed it for a while.

use std::{cell::RefCell, rc::Rc, sync::Arc, time::Duration};

use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep_until},
};

use super::{connection::Connection, error::PostgresError, options::Target};

/// How long a connection stays open that no worker needs.
const IDLE: Duration = Duration::from_secs(60);

pub(super) struct Pool {
    pub(super) target: Target,
    statement_timeout: Duration,
    /// One for each connection that may be in use.
    permits: Arc<Semaphore>,
    /// Those that are not in use; the one that was given back last stands last, and goes out first.
    idle: RefCell<Vec<Idle>>,
    /// Wakes what closes them.
    given_back: Notify,
}

struct Idle {
    connection: Connection,
    since: Instant,
}

/// The right to one connection.
pub(super) struct Turn {
    pool: Rc<Pool>,
    permit: OwnedSemaphorePermit,
}

/// A connection in use. It goes back by [`give_back`](Self::give_back); one that is dropped is closed at once.
pub(super) struct Lent {
    pub(super) connection: Connection,
    pool: Rc<Pool>,
    /// Behind the connection, so that no other one is opened before this is closed.
    _permit: OwnedSemaphorePermit,
}

impl Pool {
    pub(super) fn new(target: Target, statement_timeout: Duration, connections: usize) -> Self {
        Self {
            target,
            statement_timeout,
            permits: Arc::new(Semaphore::new(connections.max(1))),
            idle: RefCell::default(),
            given_back: Notify::new(),
        }
    }

    /// Waits while as many connections as there may be are in use; those that wait come in their order.
    pub(super) async fn turn(self: &Rc<Self>) -> Result<Turn, PostgresError> {
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|_| self.closed())?;
        Ok(Turn { pool: Rc::clone(self), permit })
    }

    /// Waits for a turn, and returns a connection.
    pub(super) async fn get(self: &Rc<Self>) -> Result<Lent, PostgresError> {
        self.turn().await?.connect().await
    }

    fn closed(&self) -> PostgresError {
        PostgresError::Closed { database: self.target.shown.to_string() }
    }

    /// Closes connections when they have not been in use for a while, without end.
    pub(super) async fn close_idle(&self) {
        loop {
            let oldest = self.idle.borrow().first().map(|idle| idle.since);
            match oldest {
                None => self.given_back.notified().await,
                Some(since) => {
                    sleep_until(since + IDLE).await;
                    let now = Instant::now();
                    let due: Vec<Idle> = {
                        let mut idle = self.idle.borrow_mut();
                        let due = idle.iter().take_while(|idle| now >= idle.since + IDLE).count();
                        idle.drain(..due).collect()
                    };
                    for idle in due {
                        idle.connection.close().await;
                    }
                }
            }
        }
    }

    /// Closes all that are not in use, and refuses further ones.
    pub(super) async fn close(&self) {
        self.permits.close();
        let idle = std::mem::take(&mut *self.idle.borrow_mut());
        futures_util::future::join_all(idle.into_iter().map(|idle| idle.connection.close())).await;
    }
}

impl Turn {
    /// Returns a connection that is not in use, or opens one.
    pub(super) async fn connect(self) -> Result<Lent, PostgresError> {
        let Self { pool, permit } = self;
        let idle = loop {
            match pool.idle.borrow_mut().pop() {
                // The server or the network has ended it meanwhile.
                Some(idle) if idle.connection.is_closed() => {}
                other => break other,
            }
        };
        let connection = match idle {
            Some(idle) => idle.connection,
            None => Connection::open(&pool.target, pool.statement_timeout).await?,
        };
        Ok(Lent { connection, pool, _permit: permit })
    }
}

impl Lent {
    /// Gives the connection back for others to use.
    pub(super) fn give_back(self) {
        let Self { connection, pool, _permit } = self;
        if !connection.is_closed() && !pool.permits.is_closed() {
            pool.idle.borrow_mut().push(Idle { connection, since: Instant::now() });
            pool.given_back.notify_one();
        }
    }
}
