//! A thread with an actix System of its own, so that what runs there does not end with the System of an embedder.

use std::{io, sync::mpsc::sync_channel, thread};

use actix::System;

/// Starts a thread with a System of its own. There `begin` is called inside the System; what it makes first is returned,
/// and the thread ends with the future that it makes second.
///
/// # Errors
/// When the operating system refuses a thread, or what the runtime on it needs.
pub(crate) fn on_own_system<T, F>(name: &str, begin: impl FnOnce() -> (T, F) + Send + 'static) -> io::Result<T>
where
    T: Send + 'static,
    F: Future<Output = ()> + 'static,
{
    let (tell, started) = sync_channel(1);
    let run = move || {
        // The caller waits for what is told, so each `send` finds it.
        let runtime = match actix_rt::Runtime::new() {
            Ok(runtime) => runtime,
            Err(error) => return drop(tell.send(Err(error))),
        };
        System::with_tokio_rt(|| runtime).block_on(async move {
            let (made, end) = begin();
            drop(tell.send(Ok(made)));
            end.await;
        });
    };
    thread::Builder::new().name(name.to_owned()).spawn(run)?;
    // The thread can end without a word only by a panic in `begin`.
    started.recv().unwrap_or_else(|_| Err(io::Error::other(format!("the thread {name} ended while it started"))))
}
