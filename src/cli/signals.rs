//! SIGINT, SIGTERM and SIGHUP: the first asks to stop, the second is obeyed at once. SIGXFSZ is an error of a write.

use std::{io, sync::mpsc, thread, time::Duration};

use tokio::sync::watch;

use super::{exit::Exit, output::complain};

/// How long saying something may take.
const MOMENT: Duration = Duration::from_millis(200);

/// What a signal asks for, in terms of the exit it leads to. None until the first arrives.
pub type Stop = watch::Receiver<Option<Exit>>;

/// Starts to listen, on a thread of its own: whatever else hangs, the second signal ends the process.
pub fn listen() -> io::Result<Stop> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let mut signals = runtime.block_on(async { Signals::new() })?;
    let (sender, receiver) = watch::channel(None);
    thread::Builder::new().name("mds-signals".to_owned()).spawn(move || {
        let first = runtime.block_on(signals.next());
        for_a_moment(|| tracing::info!("stopping: what was accepted is being stored, a second signal ends at once"));
        sender.send_replace(Some(first));
        runtime.block_on(signals.next());
        // There is no summary then.
        for_a_moment(|| {
            complain("error: ended at once, and what was under way may not be stored: run the same command again");
        });
        std::process::exit(first.code());
    })?;
    Ok(receiver)
}

/// Does something when the first signal arrives, and then ends the process.
///
/// # Errors
/// The operating system has no thread or no file descriptor left.
pub fn before_the_end(then: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let mut signals = runtime.block_on(async { Signals::new() })?;
    let wait = move || {
        let first = runtime.block_on(signals.next());
        then();
        std::process::exit(first.code());
    };
    thread::Builder::new().name("mds-signals".to_owned()).spawn(wait).map(drop)
}

/// Says something, and waits only for a moment until it is said: the reader of standard error may hang, and the next
/// signal has to be obeyed all the same.
fn for_a_moment(say: impl FnOnce() + Send + 'static) {
    let (done, said) = mpsc::channel();
    let _ = thread::Builder::new().spawn(move || {
        say();
        let _ = done.send(());
    });
    let _ = said.recv_timeout(MOMENT);
}

/// Waits for the first signal.
pub async fn stopped(stop: &mut Stop) -> Exit {
    match stop.wait_for(Option::is_some).await.map(|exit| *exit) {
        Ok(Some(exit)) => exit,
        // The thread that listens never ends before the process.
        _ => std::future::pending().await,
    }
}

/// So many file descriptors are looked for at the start. With fewer no command does its work, and tokio panics where it
/// has none for signals.
#[cfg(unix)]
const FILE_DESCRIPTORS: usize = 16;

/// Prepares this process for limits of the operating system. A write beyond the limit of `ulimit -f` fails as on a full
/// disk; otherwise it brings a signal which ends the process with nothing said. Once listened to, the signal is caught for
/// good.
///
/// # Errors
/// There are too few file descriptors for anything.
#[cfg(unix)]
pub fn prepare() -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    (0..FILE_DESCRIPTORS).map(|_| std::fs::File::open("/dev/null")).collect::<io::Result<Vec<_>>>()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async { signal(SignalKind::from_raw(libc::SIGXFSZ)) }).map(drop)
}

#[cfg(not(unix))]
pub fn prepare() -> io::Result<()> {
    Ok(())
}

#[cfg(unix)]
struct Signals(Vec<(tokio::signal::unix::Signal, Exit)>);

#[cfg(unix)]
impl Signals {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let mut signals = vec![
            (signal(SignalKind::interrupt())?, Exit::Interrupted),
            (signal(SignalKind::terminate())?, Exit::Terminated),
        ];
        if !hangups_are_ignored() {
            signals.push((signal(SignalKind::hangup())?, Exit::HungUp));
        }
        Ok(Self(signals))
    }

    async fn next(&mut self) -> Exit {
        let next = self.0.iter_mut().map(|(signal, exit)| {
            Box::pin(async move {
                signal.recv().await;
                *exit
            })
        });
        futures_util::future::select_all(next).await.0
    }
}

/// Returns whether this process was started to outlive its terminal, as `nohup` does by having SIGHUP ignored. To listen
/// would undo that. Only Linux tells without asking for it in C.
#[cfg(unix)]
fn hangups_are_ignored() -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|status| ignores_hangups(&status))
}

/// Reads the mask of ignored signals, in hexadecimal; the lowest bit is signal 1, SIGHUP.
#[cfg(unix)]
fn ignores_hangups(status: &str) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
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

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_bit_of_the_mask_is_hangup() {
        assert!(ignores_hangups("Name:\tmds\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000001001\n"));
        assert!(!ignores_hangups("SigBlk:\t0000000000000001\nSigIgn:\t0000000000001000\n"));
        assert!(!ignores_hangups(""));
    }
}
