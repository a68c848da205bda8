//! One input of a load.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use market_data_store::files::{Chunk, FileRecord, ReadError, ReadOptions, RecordReader};

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
    pub fn open<T: FileRecord>(
        &self,
        options: &ReadOptions,
    ) -> Result<RecordReader<T, Box<dyn Read + Send>>, ReadError> {
        let options = ReadOptions { name: self.name.to_string(), ..options.clone() };
        if self.is_standard_input() {
            return Ok(RecordReader::new(Box::new(io::stdin()), options));
        }
        RecordReader::open(File::open(&self.path)?, options)
    }
}

/// Reads as far as it takes to know that the input can be read. One that can be read only once is left alone.
///
/// # Errors
/// Why it cannot be read.
pub fn check<T: FileRecord>(input: &Input, options: &ReadOptions) -> Result<(), ReadError> {
    if input.is_standard_input() {
        let problem = "expected data on standard input, got none: it is closed or /dev/null, give a file or a pipe";
        return if is_null_input() { Err(ReadError::Refused(problem.into())) } else { Ok(()) };
    }
    let metadata = fs::metadata(&input.path)?;
    if metadata.is_dir() {
        return Err(io::Error::from(io::ErrorKind::IsADirectory).into());
    }
    if input.bytes.is_none() {
        return Ok(());
    }
    let mut reader = input.open::<T>(options)?;
    let mut chunk = Chunk::default();
    while reader.next_chunk(&mut chunk)? && chunk.is_empty() {}
    Ok(())
}

/// Returns whether standard input is where nothing ever comes from. One that was closed is so too: something has to be
/// there, so the runtime opens this before `main`.
#[cfg(unix)]
fn is_null_input() -> bool {
    use std::os::unix::fs::{FileTypeExt, MetadataExt};
    let device =
        |path| fs::metadata(path).ok().filter(|file| file.file_type().is_char_device()).map(|file| file.rdev());
    device("/dev/stdin").is_some_and(|input| device("/dev/null") == Some(input))
}

#[cfg(not(unix))]
fn is_null_input() -> bool {
    false
}
