//! A thread with an actix System of its own, so that what runs there does not end with the System of an embedder.

use std::{io, sync::mpsc::sync_channel, thread};

use actix::System;

/// Starts a thread with a System of its own. There `begin` is called inside the System; what it makes first is
/// returned, and the thread ends with the future that it makes second.
///
/// # Errors
/// When the operating system refuses a thread, or what the runtime on it needs.
pub(crate) fn on_own_system<T, F>(name: &str, begin: impl FnOnce() -> (T, F) + Send + 'static) -> io::Result<T>
where
    T: Send + 'static,
    F: Future<Output = ()> + 'static,
{
    spare_descriptors()?;
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
    // The thread can end untold only by a panic in `begin`.
    started.recv().unwrap_or_else(|_| Err(io::Error::other(format!("the thread {name} ended while it started"))))
}

/// How many descriptors a runtime takes, and some to spare.
#[cfg(unix)]
const FOR_A_RUNTIME: usize = 8;

/// Looks whether there are descriptors for a runtime: the first one of a process makes a pair for signals too, and
/// panics where it gets none.
///
/// # Errors
/// There are too few.
fn spare_descriptors() -> io::Result<()> {
    #[cfg(unix)]
    (0..FOR_A_RUNTIME).map(|_| std::fs::File::open("/dev/null")).collect::<io::Result<Vec<_>>>()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{env, process::Command};

    use super::*;

    /// Is set in the process that has no file descriptor left.
    #[cfg(unix)]
    const IN_NEED: &str = "TEST_WITHOUT_FILE_DESCRIPTORS";

    // Red when the runtime is made where its failure is a panic, without a look at the descriptors that are left, or
    // when a caller waits for a thread that has ended.
    #[cfg(unix)]
    #[test]
    fn a_system_that_cannot_start_is_an_error() {
        let start = || on_own_system("test", || ((), std::future::ready(())));
        if env::var_os(IN_NEED).is_some() {
            println!("started: {:?}", start().map_err(|error| error.raw_os_error()));
            return;
        }
        start().unwrap();
        let this = "own_system::tests::a_system_that_cannot_start_is_an_error";
        let mut refused = 0;
        for limit in 4..20 {
            let mut child = Command::new("sh");
            child.args(["-c", &format!(r#"ulimit -n {limit} && exec "$0" "$@""#)]).arg(env::current_exe().unwrap());
            let output = child.args(["--exact", this, "--nocapture"]).env(IN_NEED, "1").output().unwrap();
            let said = [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat();
            // What does not go by the panic's text: the system's own number of the error.
            let is_refused = said.contains("started: Err(Some(24))");
            assert!(is_refused || said.contains("started: Ok"), "{limit}: {said}");
            assert!(output.status.success() && !said.contains("panicked"), "{limit}: {said}");
            refused += usize::from(is_refused);
        }
        assert!((4..16).contains(&refused), "{refused} of 16");
    }

    // Red when a panic at the start holds the caller for good.
    #[test]
    fn a_start_that_panics_is_an_error() {
        let error = on_own_system::<(), std::future::Ready<()>>("test", || panic!("as the test wants")).unwrap_err();
        assert!(error.to_string().contains("test"), "{error}");
    }
}
