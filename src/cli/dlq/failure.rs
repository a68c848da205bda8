//! What every command says of files that it cannot use.

use std::path::PathBuf;

use market_data_store::dead_letter::DeadLettersError;

use crate::cli::{exit::Exit, output::complain};

/// Names the files that are called like ours and are not.
pub fn name_foreign(files: &[PathBuf]) {
    for file in files {
        complain(format_args!("warning: {}: not a file of dead letters, left alone", file.display()));
    }
}

/// Tells a failure, and returns what it means for the process.
pub fn failed(error: &DeadLettersError) -> Exit {
    complain(format_args!("error: {error}"));
    match error {
        DeadLettersError::Busy(_) => Exit::Unavailable,
        _ => Exit::Internal,
    }
}
