//! The progress bar of `mds ingest`, and what must not be drawn over it.

use std::{
    io::{self, IsTerminal, Write},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use indicatif::{HumanDuration, ProgressBar, ProgressDrawTarget, ProgressStyle};
use market_data_store::{Level, text::Shown};

/// The one bar of this process, if it has one.
static BAR: OnceLock<ProgressBar> = OnceLock::new();

/// A progress bar on standard error; where that is no terminal it shows nothing.
#[derive(Clone)]
pub struct Progress {
    bar: Option<&'static ProgressBar>,
    /// The bytes of all files, if each has a size.
    total: Option<u64>,
    /// The bytes that were read of all files.
    read: Arc<AtomicU64>,
}

impl Progress {
    /// Starts the bar, if standard error is a terminal. `total` is the size of all files, if it is known.
    pub fn start(total: Option<u64>) -> Self {
        let new = || ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10));
        let bar = io::stderr().is_terminal().then(|| BAR.get_or_init(new));
        Self { bar, total, read: Arc::default() }
    }

    /// Begins with a file; `bytes` is its size, if it has one.
    pub fn file(&self, number: usize, of: usize, name: &str, bytes: Option<u64>) {
        let Some(bar) = self.bar else { return };
        let template = match bytes {
            Some(_) => "{prefix}  {wide_bar}  {bytes} of {total_bytes}  {msg}",
            None => "{prefix}  {spinner}  {bytes}  {msg}",
        };
        bar.set_style(ProgressStyle::with_template(template).expect("the templates above are well formed"));
        if let Some(bytes) = bytes {
            bar.set_length(bytes);
        }
        bar.reset();
        bar.set_prefix(format!("file {number} of {of}: {}", Shown(name)));
        bar.tick();
    }

    /// Shows how much of the file has been read.
    pub fn bytes(&self, read: u64) {
        if let Some(bar) = self.bar {
            self.read.fetch_add(read.saturating_sub(bar.position()), Ordering::Relaxed);
            bar.set_position(read);
        }
    }

    /// Shows how fast records are accepted, the level, and how long the rest takes at this speed. Called again and again
    /// it moves the bar while the reader waits.
    pub fn rate(&self, records: u64, elapsed: Duration, level: Level) {
        if let Some(bar) = self.bar {
            let per_second = records as f64 / elapsed.as_secs_f64().max(0.001);
            let left = self.total.and_then(|total| left(self.read.load(Ordering::Relaxed), total, elapsed));
            let left = left.map(|left| format!(", {:#} left", HumanDuration(left))).unwrap_or_default();
            bar.set_message(format!("{per_second:.0} records/s  {level}{left}"));
            bar.tick();
        }
    }

    /// Shows why nothing is stored, and since when.
    pub fn outage(&self, since: Duration, why: &str) {
        if let Some(bar) = self.bar {
            bar.set_message(format!("nothing stored for {} s: {}", since.as_secs(), Shown(why)));
        }
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Returns how long the rest takes at the speed so far, once something was read and while something is left.
fn left(read: u64, total: u64, elapsed: Duration) -> Option<Duration> {
    let rest = total.checked_sub(read).filter(|rest| *rest > 0 && read > 0)?;
    Duration::try_from_secs_f64(elapsed.as_secs_f64() * rest as f64 / read as f64).ok()
}

/// Standard error, with the bar out of the way while something is written.
#[derive(Clone, Copy, Debug)]
pub struct Stderr;

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let write = || io::stderr().write_all(bytes);
        match BAR.get() {
            Some(bar) => bar.suspend(write),
            None => write(),
        }?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Red if it is the time so far, or if nothing that was read, or nothing that is left, makes a time.
    #[test]
    fn the_rest_takes_as_long_as_the_beginning_did() {
        let elapsed = Duration::from_secs(30);
        assert_eq!(left(25, 100, elapsed), Some(Duration::from_secs(90)));
        assert_eq!([(0, 100), (100, 100), (120, 100)].map(|(read, total)| left(read, total, elapsed)), [None; 3]);
    }
}
