//! The thread that reads: from files to the coordinator, as fast as that takes records.

use std::{collections::VecDeque, sync::Arc};

use market_data_store::{
    Bar, Record as _, Refusal, WriteHandle,
    files::{Chunk, EarlierMoments, FileInfo, FileRecord, ReadError, ReadOptions},
};
use tokio::runtime::{Builder, Runtime};

use super::{counters::Counters, input::Input};
use crate::cli::progress::Progress;

/// Where records go.
pub enum Target<T: FileRecord> {
    /// Nowhere: they are only counted.
    DryRun,
    Coordinator(WriteHandle<T>),
}

/// What is known of records without an id.
#[derive(Default)]
struct Numbered {
    moments: EarlierMoments,
    is_told: bool,
}

/// Reads inputs, one after the other, and submits what is in them.
pub struct ReaderThread<T: FileRecord> {
    pub inputs: Vec<Input>,
    pub options: ReadOptions,
    pub target: Target<T>,
    pub counters: Arc<Counters>,
    pub progress: Progress,
}

impl<T: FileRecord> ReaderThread<T> {
    /// Reads everything. Returns the inputs that could not be read, or not to their end.
    ///
    /// # Errors
    /// The coordinator takes no more records, as when a signal stops it; what was not accepted is let go.
    pub fn run(self) -> Result<Vec<(Input, ReadError)>, Refusal> {
        // Drives the submits. It needs no timer and no I/O: those belong to the coordinator.
        let runtime = Builder::new_current_thread().build().expect("a runtime without drivers has nothing to fail at");
        let mut failed = Vec::new();
        let mut numbered = Numbered::default();
        for (index, input) in self.inputs.iter().enumerate() {
            self.progress.file(index + 1, self.inputs.len(), &input.name, input.bytes);
            self.counters.file(&input.name, T::KIND == Bar::KIND);
            if let Err(error) = self.read(input, &mut numbered, &runtime)? {
                failed.push((input.clone(), error));
            }
        }
        Ok(failed)
    }

    fn read(
        &self,
        input: &Input,
        numbered: &mut Numbered,
        runtime: &Runtime,
    ) -> Result<Result<(), ReadError>, Refusal> {
        let mut reader = match input.open::<T>(&self.options) {
            Ok(reader) => reader,
            Err(error) => {
                self.counters.found(FileInfo::default(), Some(error.to_string()));
                return Ok(Err(error));
            }
        };
        reader.begin_behind(std::mem::take(&mut numbered.moments));
        let mut chunk = Chunk::default();
        let mut waiting_is_told = false;
        let result = loop {
            // Only this reads, and at most once: whatever was read before is submitted by then, however long it blocks.
            let more = match reader.next_chunk(&mut chunk) {
                Ok(more) => more,
                Err(error) => break Err(error),
            };
            self.progress.bytes(reader.bytes_read());
            // A pipe can bring its next row tomorrow.
            if reader.rows_waiting() > 0 && input.bytes.is_none() && !waiting_is_told {
                waiting_is_told = true;
                tracing::warn!(
                    file = &*input.name,
                    "rows wait for a date that shows which number is the month; --ts-format says it at once"
                );
            }
            self.counters.skip(chunk.skipped);
            self.counters.replace(chunk.replaced);
            for rejected in chunk.rejected.drain(..) {
                self.counters.reject(&input.name, rejected.line, rejected.message);
            }
            if let Err(refusal) = self.submit(&mut chunk.records, runtime) {
                self.counters.found(reader.info(), Some(refusal.to_string()));
                return Err(refusal);
            }
            if !more {
                break Ok(());
            }
        };
        self.counters.found(reader.info(), result.as_ref().err().map(ToString::to_string));
        for warning in reader.warnings() {
            tracing::warn!(file = &*input.name, "{warning}");
        }
        for note in reader.notes() {
            tracing::info!(file = &*input.name, "{note}");
        }
        if reader.has_numbered() && !std::mem::replace(&mut numbered.is_told, true) {
            tracing::warn!(
                file = &*input.name,
                "records have neither an id nor a `seq`, and are numbered at each moment in the order of the file: those of a \
                 file of another run at the same moments would take their place"
            );
        }
        numbered.moments = reader.into_moments();
        Ok(result)
    }

    /// Submits all of `records`. At an error those that were not accepted are still in it.
    fn submit(&self, records: &mut VecDeque<T>, runtime: &Runtime) -> Result<(), Refusal> {
        if records.is_empty() {
            return Ok(());
        }
        let before = records.len();
        let mut timeframes: Vec<_> = records.iter().filter_map(FileRecord::timeframe).collect();
        timeframes.dedup();
        self.counters.submit();
        let result = match &self.target {
            // It waits for a place, however long the store is away.
            Target::Coordinator(handle) => runtime.block_on(handle.submit_from(records)),
            Target::DryRun => {
                self.counters.show(records.iter());
                records.clear();
                Ok(())
            }
        };
        self.counters.accept((before - records.len()) as u64, &timeframes);
        result
    }
}
