//! The progress bar of `mds ingest`, and what must not be drawn over it.

use std::{
    io::{self, IsTerminal, Write},
    sync::OnceLock,
    time::Duration,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use market_data_store::{Level, text::quoted::Shown};

/// The one bar of this process, if it has one.
static BAR: OnceLock<ProgressBar> = OnceLock::new();

/// A progress bar on standard error; where that is no terminal it shows nothing.
#[derive(Clone)]
pub struct Progress(Option<&'static ProgressBar>);

impl Progress {
    /// Starts the bar, if anybody can see it.
    pub fn start() -> Self {
        if !io::stderr().is_terminal() {
            return Self(None);
        }
        let bar = BAR.get_or_init(|| ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10)));
        Self(Some(bar))
    }

    /// Begins with a file; `bytes` is its size, if it has one.
    pub fn file(&self, number: usize, of: usize, name: &str, bytes: Option<u64>) {
        let Some(bar) = self.0 else { return };
        let template = match bytes {
            Some(_) => "{prefix}  {wide_bar}  {bytes} of {total_bytes}  {msg}",
            None => "{prefix}  {spinner}  {bytes}  {msg}",
        };
        bar.reset();
        bar.set_style(ProgressStyle::with_template(template).expect("the templates above are well formed"));
        if let Some(bytes) = bytes {
            bar.set_length(bytes);
        }
        bar.set_prefix(format!("file {number} of {of}: {}", Shown(name)));
        // It draws from now on, and also while the reader waits.
        bar.enable_steady_tick(Duration::from_millis(200));
    }

    /// Shows how much of the file has been read.
    pub fn bytes(&self, read: u64) {
        if let Some(bar) = self.0 {
            bar.set_position(read);
        }
    }

    /// Shows how fast records are accepted, and the level.
    pub fn rate(&self, records_per_second: f64, level: Level) {
        if let Some(bar) = self.0 {
            bar.set_message(format!("{records_per_second:.0} records/s  {level}"));
        }
    }

    /// Shows why nothing is stored, and since when.
    pub fn outage(&self, since: Duration, why: &str) {
        if let Some(bar) = self.0 {
            bar.set_message(format!("nothing stored for {} s: {why}", since.as_secs()));
        }
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        if let Some(bar) = self.0 {
            bar.finish_and_clear();
        }
    }
}

/// Standard error, with the bar out of the way while something is written. Errors are nobody's: where it is closed there
/// is nobody to tell.
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
