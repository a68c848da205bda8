//! Where records are written: standard output, or a file that gets its name once it is whole.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, IsTerminal, Write},
    path::{Path, PathBuf},
};

use crate::cli::signals;

/// So many bytes are written at once.
const BUFFER: usize = 256 * 1024;

pub struct Target {
    writer: BufWriter<Box<dyn Write>>,
    is_terminal: bool,
    file: Option<Partial>,
}

/// A file that is not whole. It is removed unless it gets its name.
struct Partial {
    file: File,
    path: PathBuf,
    name: PathBuf,
}

impl Target {
    /// # Errors
    /// The directory cannot be written to, or the name is that of something else than a file.
    pub fn open(name: Option<&Path>) -> io::Result<Self> {
        let Some(name) = name else {
            let stdout = io::stdout();
            let is_terminal = stdout.is_terminal();
            return Ok(Self { writer: BufWriter::with_capacity(BUFFER, Box::new(stdout)), is_terminal, file: None });
        };
        let partial = Partial::create(name)?;
        let writer = BufWriter::with_capacity(BUFFER, Box::new(partial.file.try_clone()?) as Box<dyn Write>);
        Ok(Self { writer, is_terminal: false, file: Some(partial) })
    }

    pub fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// Writes a text and empties it.
    pub fn write(&mut self, text: &mut String) -> io::Result<()> {
        self.writer.write_all(text.as_bytes())?;
        text.clear();
        Ok(())
    }

    /// Writes what is left, and gives a file its name.
    pub fn finish(mut self) -> io::Result<()> {
        self.writer.flush()?;
        self.file.take().map_or(Ok(()), Partial::finish)
    }
}

impl Partial {
    fn create(name: &Path) -> io::Result<Self> {
        // Behind a link stands the file that is meant.
        let name = fs::canonicalize(name).unwrap_or_else(|_| name.to_owned());
        let before = fs::metadata(&name).ok();
        if before.as_ref().is_some_and(|before| !before.is_file()) {
            return Err(io::Error::other("expected the name of a file, found something else"));
        }
        let Some(last) = name.file_name() else { return Err(io::Error::other("expected the name of a file")) };
        let path = name.with_file_name(format!(".{}.{}.partial", last.display(), std::process::id()));
        let file = OpenOptions::new().write(true).create_new(true).open(&path)?;
        let partial = Self { file, path, name };
        if let Some(before) = before {
            // Who could not read the file before cannot read it now.
            partial.file.set_permissions(before.permissions())?;
        }
        let path = partial.path.clone();
        signals::before_the_end(move || drop(fs::remove_file(path)))?;
        Ok(partial)
    }

    fn finish(self) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.path, &self.name)
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // Once it has its name there is nothing to remove.
        let _ = fs::remove_file(&self.path);
    }
}
