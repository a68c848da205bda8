//! The reading thread: from files to the coordinator, as fast as that takes records.

use std::{
    collections::VecDeque,
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio::runtime::{Builder, Runtime};

use super::tally::Tally;
use crate::{
    cli::progress::Progress,
    coordinator::{Refusal, WriteHandle},
    files::{BarReader, Chunk, FileInfo, ReadError, ReadOptions},
    record::Bar,
};

const STANDARD_INPUT: &str = "-";

/// A file, or standard input.
#[derive(Clone, Debug)]
pub struct Input {
    /// A path, or `-`.
    pub path: PathBuf,
    /// The word of the command line that stands for it: its path, a directory or a pattern.
    pub word: PathBuf,
    /// The path as it is shown.
    pub name: Arc<str>,
    /// None for pipes and the like, which can be read only once.
    pub bytes: Option<u64>,
}

impl Input {
    pub fn new(path: &Path, word: &Path) -> Self {
        let metadata = if path == Path::new(STANDARD_INPUT) { None } else { fs::metadata(path).ok() };
        Self {
            path: path.to_owned(),
            word: word.to_owned(),
            name: path.to_string_lossy().into(),
            bytes: metadata.filter(fs::Metadata::is_file).map(|metadata| metadata.len()),
        }
    }

    pub fn is_standard_input(&self) -> bool {
        self.path == Path::new(STANDARD_INPUT)
    }

    /// Opens it and makes a reader.
    pub fn open(&self, options: &ReadOptions) -> Result<BarReader<Box<dyn Read + Send>>, ReadError> {
        let options = ReadOptions { name: self.name.to_string(), ..options.clone() };
        if self.is_standard_input() {
            return Ok(BarReader::new(Box::new(io::stdin()), options));
        }
        BarReader::open(File::open(&self.path)?, options)
    }
}

/// Where bars go.
pub enum Target {
    /// Nowhere: they are only counted.
    DryRun,
    Coordinator(WriteHandle<Bar>),
}

/// Reads inputs, one after the other, and submits what is in them.
pub struct Feed {
    pub inputs: Vec<Input>,
    pub options: ReadOptions,
    pub target: Target,
    pub tally: Arc<Tally>,
    pub progress: Progress,
}

impl Feed {
    /// Reads everything. Returns the inputs that could not be read, or not to their end.
    ///
    /// # Errors
    /// The coordinator takes no more records, as when a signal stops it; what was not accepted is let go.
    pub fn run(self) -> Result<Vec<(Input, ReadError)>, Refusal> {
        // Drives the submits. It needs no timer and no I/O: those belong to the coordinator.
        let runtime = Builder::new_current_thread().build().expect("a runtime without drivers has nothing to fail at");
        let mut failed = Vec::new();
        for (index, input) in self.inputs.iter().enumerate() {
            self.progress.file(index + 1, self.inputs.len(), &input.name, input.bytes);
            self.tally.file(&input.name);
            if let Err(error) = self.read(input, &runtime)? {
                failed.push((input.clone(), error));
            }
        }
        Ok(failed)
    }

    fn read(&self, input: &Input, runtime: &Runtime) -> Result<Result<(), ReadError>, Refusal> {
        let mut reader = match input.open(&self.options) {
            Ok(reader) => reader,
            Err(error) => {
                self.tally.found(FileInfo::default(), Some(error.to_string()));
                return Ok(Err(error));
            }
        };
        let mut chunk = Chunk::default();
        let result = loop {
            // Only this reads, and at most once: whatever was read before is submitted by then, however long it blocks.
            let more = match reader.next_chunk(&mut chunk) {
                Ok(more) => more,
                Err(error) => break Err(error),
            };
            self.progress.bytes(reader.bytes_read());
            self.tally.skip(chunk.skipped);
            for rejected in chunk.rejected.drain(..) {
                self.tally.reject(&input.name, rejected.line, rejected.message);
            }
            if let Err(refusal) = self.submit(&mut chunk.bars, runtime) {
                self.tally.found(reader.info(), Some(refusal.to_string()));
                return Err(refusal);
            }
            if !more {
                break Ok(());
            }
        };
        self.tally.found(reader.info(), result.as_ref().err().map(ToString::to_string));
        for note in reader.notes() {
            tracing::info!(file = &*input.name, "{note}");
        }
        Ok(result)
    }

    /// Submits all of `bars`. At an error those that were not accepted are still in it.
    fn submit(&self, bars: &mut VecDeque<Bar>, runtime: &Runtime) -> Result<(), Refusal> {
        if bars.is_empty() {
            return Ok(());
        }
        let before = bars.len();
        let mut timeframes: Vec<_> = bars.iter().map(|bar| bar.timeframe).collect();
        timeframes.dedup();
        self.tally.submit();
        let result = match &self.target {
            Target::Coordinator(handle) => runtime.block_on(submit(handle, bars)),
            Target::DryRun => {
                self.tally.show(bars.iter());
                bars.clear();
                Ok(())
            }
        };
        self.tally.accept((before - bars.len()) as u64, &timeframes);
        result
    }
}

async fn submit(handle: &WriteHandle<Bar>, bars: &mut VecDeque<Bar>) -> Result<(), Refusal> {
    loop {
        match handle.submit_from(bars).await {
            // With the strategy `error` the coordinator leaves it to its producer to wait. A loader can.
            Err(Refusal::Full | Refusal::CircuitOpen) => handle.flush().await?,
            result => return result,
        }
    }
}
