//! SIGINT and SIGTERM: the first asks to stop, the second is obeyed at once.

use std::{io, thread};

use futures_util::future::select;
use tokio::sync::watch;

use super::Exit;

/// What a signal asks for, in terms of the exit it leads to. None until the first arrives.
pub type Stop = watch::Receiver<Option<Exit>>;

/// Starts to listen, on a thread of its own: whatever else hangs, the second signal ends the process.
pub fn listen() -> io::Result<Stop> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let mut signals = runtime.block_on(async { Signals::new() })?;
    let (sender, receiver) = watch::channel(None);
    thread::Builder::new().name("mds-signals".to_owned()).spawn(move || {
        let first = runtime.block_on(signals.next());
        tracing::info!("stopping: what was accepted is being stored, a second signal ends at once");
        sender.send_replace(Some(first));
        runtime.block_on(signals.next());
        std::process::exit(first.code());
    })?;
    Ok(receiver)
}

/// Waits for the first signal.
pub async fn stopped(stop: &mut Stop) -> Exit {
    match stop.wait_for(Option::is_some).await.map(|exit| *exit) {
        Ok(Some(exit)) => exit,
        // The thread that listens never ends before the process.
        _ => std::future::pending().await,
    }
}

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) -> Exit {
        use futures_util::future::Either;
        let (interrupt, terminate) = (std::pin::pin!(self.interrupt.recv()), std::pin::pin!(self.terminate.recv()));
        match select(interrupt, terminate).await {
            Either::Left(_) => Exit::Interrupted,
            Either::Right(_) => Exit::Terminated,
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) -> Exit {
        let _ = tokio::signal::ctrl_c().await;
        Exit::Interrupted
    }
}
