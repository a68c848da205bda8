//! What a file is compressed with: gzip, Zstandard or zip, known by its first bytes and decompressed as it streams by.

mod gzip;
#[cfg(test)]
mod tests;
mod zip;
mod zstd;

use std::{
    fs::File,
    io::{self, BufReader, Chain, Cursor, Read, Seek},
};

use self::{gzip::GzipReader, zip::ZipReader, zstd::ZstdReader};
use super::chunk::ReadError;

/// The longest of the beginnings by which a container is known.
const MAGIC_BYTES: usize = 4;

/// What a file is compressed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Compression {
    /// One member, or several behind each other as `cat a.gz b.gz` makes.
    Gzip,
    /// One frame, or several behind each other.
    Zstd,
    /// One file in a zip, which has to be a file on a disk, since its directory stands at its end.
    Zip,
}

impl Compression {
    /// Returns its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Zip => "zip",
        }
    }

    /// Returns the command that unpacks it to standard output.
    pub(crate) const fn unpacking(self) -> &'static str {
        match self {
            Self::Gzip => "gzip -dc",
            Self::Zstd => "zstd -dc",
            Self::Zip => "unzip -p",
        }
    }
}

/// An input, decompressed. Memory does not grow with what comes out of it.
pub(crate) struct Decompressed<R: Read> {
    state: State<R>,
    compression: Option<Compression>,
    /// What was read of an input that is no longer there.
    bytes_read: u64,
    /// The most memory that a frame of Zstandard may ask for, as a power of two.
    window_log: u32,
}

/// The bytes that were looked at, and the input behind them.
type Rewound<R> = BufReader<Chain<Cursor<Vec<u8>>, Counted<R>>>;

enum State<R: Read> {
    /// Nothing was read yet.
    New(Counted<R>),
    Plain(Counted<R>),
    Gzip(Box<GzipReader<Rewound<R>>>),
    Zstd(Box<ZstdReader<Rewound<R>>>),
    Zip(Box<ZipReader>),
    /// The input failed or was refused.
    Ended,
}

/// What the first bytes show.
enum Look {
    Plain,
    Compressed(Compression),
    TooFew,
}

fn look(bytes: &[u8]) -> Look {
    const MAGIC: [(&[u8], Compression); 4] = [
        (b"\x1f\x8b", Compression::Gzip),
        (b"\x28\xb5\x2f\xfd", Compression::Zstd),
        (b"PK\x03\x04", Compression::Zip),
        (b"PK\x05\x06", Compression::Zip),
    ];
    // A frame that is to be skipped, as parallel compressors write first: its last digit is free.
    let skippable = |at: usize, byte: u8| match at {
        0 => byte & 0xf0 == 0x50,
        at => byte == b"\x50\x2a\x4d\x18"[at],
    };
    if let Some((_, compression)) = MAGIC.iter().find(|(magic, _)| bytes.starts_with(magic)) {
        return Look::Compressed(*compression);
    }
    let begins = bytes.iter().take(MAGIC_BYTES).enumerate().all(|(at, byte)| skippable(at, *byte));
    match bytes.len() {
        MAGIC_BYTES.. if begins => Look::Compressed(Compression::Zstd),
        ..MAGIC_BYTES if begins || MAGIC.iter().any(|(magic, _)| magic.starts_with(bytes)) => Look::TooFew,
        _ => Look::Plain,
    }
}

impl<R: Read> Decompressed<R> {
    pub(crate) fn new(input: R) -> Self {
        let state = State::New(Counted { input, bytes: 0 });
        Self { state, compression: None, bytes_read: 0, window_log: zstd::WINDOW_LOG }
    }

    /// Lets a frame of Zstandard ask for so much memory at most, as a power of two.
    #[cfg(feature = "serve")]
    pub(crate) fn window_log(mut self, window_log: u32) -> Self {
        self.window_log = window_log;
        self
    }

    /// Returns what the input is compressed with, once something was read.
    pub(crate) fn compression(&self) -> Option<Compression> {
        self.compression
    }

    /// Returns how many bytes of the input have been read, compressed as they are.
    pub(crate) fn bytes_read(&self) -> u64 {
        match &self.state {
            State::New(input) | State::Plain(input) => input.bytes,
            State::Gzip(gzip) => gzip.get_ref().map_or(0, |input| input.get_ref().get_ref().1.bytes),
            State::Zstd(zstd) => zstd.get_ref().get_ref().get_ref().1.bytes,
            State::Zip(zip) => zip.bytes_read(),
            State::Ended => self.bytes_read,
        }
    }

    /// Returns the name of the file in a zip.
    pub(crate) fn member(&self) -> Option<&str> {
        match &self.state {
            State::Zip(zip) => Some(zip.name()),
            _ => None,
        }
    }

    /// Says what follows the compressed data, once they have ended, if it is not what may stand there.
    pub(crate) fn rubbish(&self) -> Option<ReadError> {
        match &self.state {
            State::Gzip(gzip) => gzip.rubbish(),
            _ => None,
        }
    }

    /// Reads into `buf`, which has room for more than a magic number, until something is known or came out; returns the
    /// number of bytes, 0 at the end. It blocks as long as one read of the input blocks, except where that gave too few
    /// bytes to go on with. An input that would block is asked again by the next call, unless it gave too few of the first
    /// bytes.
    pub(crate) fn read(&mut self, buf: &mut [u8]) -> Result<usize, ReadError> {
        loop {
            let read = match self.try_read(buf) {
                Err(ReadError::Io(error)) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read,
            };
            if read.as_ref().is_err_and(|error| !would_block(error)) {
                self.bytes_read = self.bytes_read();
                self.state = State::Ended;
            }
            return read;
        }
    }

    fn try_read(&mut self, buf: &mut [u8]) -> Result<usize, ReadError> {
        match &mut self.state {
            State::New(_) => self.begin(buf),
            State::Plain(input) => Ok(input.read(buf)?),
            State::Gzip(gzip) => gzip.read(buf),
            State::Zstd(zstd) => {
                let window_log = self.window_log;
                zstd.read(buf).map_err(|error| damaged_frame(error, window_log))
            }
            State::Zip(zip) => zip.read(buf),
            State::Ended => Ok(0),
        }
    }

    /// Reads the first bytes. Those of a file that is not compressed are handed over as they are.
    fn begin(&mut self, buf: &mut [u8]) -> Result<usize, ReadError> {
        let State::New(mut input) = std::mem::replace(&mut self.state, State::Ended) else { return Ok(0) };
        let mut read = 0;
        let compression = loop {
            let more = match input.read(&mut buf[read..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && read == 0 => {
                    self.state = State::New(input);
                    return Err(error.into());
                }
                more => more?,
            };
            read += more;
            match look(&buf[..read]) {
                Look::Compressed(compression) => break compression,
                Look::TooFew if more > 0 => {}
                Look::Plain | Look::TooFew => {
                    self.state = State::Plain(input);
                    return Ok(read);
                }
            }
        };
        if compression == Compression::Zip {
            return Err(ReadError::Refused(
                "expected CSV, JSON, gzip or zstd from a pipe, got a zip, which is read from a file only: unpack it first, \
                 as in `unzip -p FILE.zip | mds ingest ... -`"
                    .into(),
            ));
        }
        self.compression = Some(compression);
        let rewound = BufReader::new(Cursor::new(buf[..read].to_vec()).chain(input));
        self.state = match compression {
            Compression::Zstd => State::Zstd(Box::new(ZstdReader::new(rewound, self.window_log)?)),
            _ => State::Gzip(Box::new(GzipReader::new(rewound))),
        };
        self.try_read(buf)
    }
}

impl Decompressed<Box<dyn Read + Send>> {
    /// Opens a file. Of a zip the directory at its end is read first, so that one with several files is refused before
    /// anything of it is used.
    pub(crate) fn open(mut file: File) -> Result<Self, ReadError> {
        // A pipe cannot be read twice, and what is no file has no directory at its end.
        if !file.metadata()?.is_file() {
            return Ok(Self::new(Box::new(file)));
        }
        let mut magic = Vec::new();
        (&file).take(MAGIC_BYTES as u64).read_to_end(&mut magic)?;
        file.rewind()?;
        if !matches!(look(&magic), Look::Compressed(Compression::Zip)) {
            return Ok(Self::new(Box::new(file)));
        }
        let zip = ZipReader::open(file)?;
        Ok(Self { state: State::Zip(Box::new(zip)), compression: Some(Compression::Zip), bytes_read: 0, window_log: 0 })
    }
}

/// Returns whether an input has nothing yet, and can be asked again.
fn would_block(error: &ReadError) -> bool {
    matches!(error, ReadError::Io(error) if error.kind() == io::ErrorKind::WouldBlock)
}

/// Says what is wrong with data of Zstandard.
fn damaged_frame(error: io::Error, window_log: u32) -> ReadError {
    // The library has no other word for it.
    if error.to_string().starts_with("Frame requires too much memory") {
        return ReadError::Refused(format!(
            "expected zstd data with a window of at most {} MiB, got a larger one: unpack them first, as in \
             `zstd -dc --long=31 FILE | mds ingest ... -`",
            (1_u64 << window_log) >> 20
        ));
    }
    damaged(Compression::Zstd, error)
}

/// Says that compressed data are damaged, or where the input itself failed, that.
fn damaged(compression: Compression, error: io::Error) -> ReadError {
    let compression = compression.as_str();
    if error.raw_os_error().is_some() || matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock)
    {
        return error.into();
    }
    let message = match error.kind() {
        io::ErrorKind::UnexpectedEof => {
            format!("expected more {compression} data, got the end of the file: it was cut off, fetch it again")
        }
        _ => format!("expected sound {compression} data, got damaged ones, fetch the file again: {error}"),
    };
    io::Error::new(error.kind(), message).into()
}

/// Counts what is read.
struct Counted<R> {
    input: R,
    bytes: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buf)?;
        self.bytes += read as u64;
        Ok(read)
    }
}
