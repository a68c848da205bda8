//! The one file in a zip.
//!
//! A zip is read from its front: each file in it has a header of its own, and deflated data show their own end, so that
//! standard input needs no seeking and nothing is held. What only the directory at the end of a zip knows, that there are
//! more files, is looked up first where the input can be looked into.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Take},
};

use flate2::{Crc, bufread::DeflateDecoder};
use zip::ZipArchive;

use super::{Compression, damaged};
use crate::files::chunk::ReadError;
use crate::text::Quoted;

const FILE_HEADER: [u8; 4] = *b"PK\x03\x04";
const DIRECTORY: [u8; 4] = *b"PK\x01\x02";
const DIRECTORY_END: [u8; 4] = *b"PK\x05\x06";
const DESCRIPTOR: [u8; 4] = *b"PK\x07\x08";

const STORED: u16 = 0;
const DEFLATED: u16 = 8;

/// Flags of a header: the data are encrypted; their sizes follow behind them.
const ENCRYPTED: u16 = 1;
const SIZES_BEHIND: u16 = 8;

/// The most names of files in a zip that an error lists.
const NAMES_LISTED: usize = 10;

/// The file in a zip, unpacked as it streams by.
pub(crate) struct ZipReader<R: BufRead> {
    state: State<R>,
    /// What the directory says, where it was read.
    known: Option<Sizes>,
    name: String,
    crc: Crc,
}

enum State<R: BufRead> {
    /// In front of the header of a file.
    Before(R),
    Stored(Take<R>, Option<Sizes>),
    /// Sizes are none where they stand behind the data, in 32 or 64 bits.
    Deflated(DeflateDecoder<Take<R>>, Option<Sizes>, bool),
    After(R),
    Done(R),
    /// It has failed.
    Ended,
}

/// What a zip says about a file in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sizes {
    crc: u32,
    packed: u64,
    unpacked: u64,
}

impl<R: BufRead> ZipReader<R> {
    /// Makes one of a zip that can be read only once.
    pub(crate) fn of_stream(input: R) -> Self {
        Self { state: State::Before(input), known: None, name: String::new(), crc: Crc::new() }
    }

    /// Makes one of a file, of which `input` is a second handle at the same position.
    ///
    /// # Errors
    /// The zip has several files in it, or none.
    pub(crate) fn of_file(file: &mut File, input: R) -> Result<Self, ReadError> {
        let mut of_stream = Self::of_stream(input);
        match only_file(file)? {
            Some((at, known)) => {
                file.seek(SeekFrom::Start(at))?;
                of_stream.known = Some(known);
            }
            // Cut off, perhaps: what is there can be read all the same.
            None => file.rewind()?,
        }
        Ok(of_stream)
    }

    /// Returns the input, unless it is gone.
    pub(crate) fn get_ref(&self) -> Option<&R> {
        match &self.state {
            State::Before(input) | State::After(input) | State::Done(input) => Some(input),
            State::Stored(stored, _) => Some(stored.get_ref()),
            State::Deflated(deflated, ..) => Some(deflated.get_ref().get_ref()),
            State::Ended => None,
        }
    }

    /// Returns the name of the file in it, once that has begun.
    pub(crate) fn name(&self) -> Option<&str> {
        Some(&*self.name).filter(|name| !name.is_empty())
    }

    /// Reads some of what is in the file; 0 at its end, which is checked against what the zip says.
    pub(crate) fn read(&mut self, buf: &mut [u8]) -> Result<usize, ReadError> {
        loop {
            let read = match &mut self.state {
                State::Stored(stored, _) => stored.read(buf),
                State::Deflated(deflated, ..) => deflated.read(buf),
                State::Before(_) => {
                    self.begin()?;
                    continue;
                }
                State::After(_) => {
                    self.look_behind()?;
                    continue;
                }
                State::Done(_) | State::Ended => return Ok(0),
            };
            let read = read.map_err(|error| damaged(Compression::Zip, error))?;
            if read > 0 {
                self.crc.update(&buf[..read]);
                return Ok(read);
            }
            self.end()?;
        }
    }

    /// Reads headers up to that of the first file.
    fn begin(&mut self) -> Result<(), ReadError> {
        let State::Before(mut input) = std::mem::replace(&mut self.state, State::Ended) else { return Ok(()) };
        loop {
            let Some(header) = Header::read(&mut input)? else { return Err(no_file()) };
            let sizes = self.known.or(header.sizes);
            if is_clutter(&header.name) {
                header.skip(&mut input)?;
                continue;
            }
            if is_workbook(&header.name) {
                return Err(workbook());
            }
            header.check()?;
            self.name = header.name;
            let packed = input.take(sizes.map_or(u64::MAX, |sizes| sizes.packed));
            self.state = match (header.method, sizes) {
                (STORED, None) => {
                    return Err(ReadError::Refused(format!(
                        "expected {} to say its size before its data in the zip, got none: unpack it first",
                        Quoted(&self.name)
                    )));
                }
                (STORED, sizes) => State::Stored(packed, sizes),
                (_, sizes) => State::Deflated(DeflateDecoder::new(packed), sizes, header.wide),
            };
            return Ok(());
        }
    }

    /// Checks the file that has just ended.
    fn end(&mut self) -> Result<(), ReadError> {
        let (unpacked, left, mut input, sizes, wide) = match std::mem::replace(&mut self.state, State::Ended) {
            State::Stored(stored, sizes) => {
                let unpacked = sizes.map_or(0, |sizes| sizes.packed) - stored.limit();
                (unpacked, stored.limit(), stored.into_inner(), sizes, false)
            }
            State::Deflated(deflated, sizes, wide) => {
                let (unpacked, packed) = (deflated.total_out(), deflated.into_inner());
                (unpacked, sizes.map_or(0, |_| packed.limit()), packed.into_inner(), sizes, wide)
            }
            other => {
                self.state = other;
                return Ok(());
            }
        };
        // An input that ends too early looks like an end of stored data.
        if input.fill_buf().map_err(|error| damaged(Compression::Zip, error))?.is_empty()
            && (left > 0 || sizes.is_none())
        {
            return Err(damaged(Compression::Zip, io::ErrorKind::UnexpectedEof.into()));
        }
        let sizes = match sizes {
            Some(sizes) => sizes,
            None => read_descriptor(&mut input, wide).map_err(|error| damaged(Compression::Zip, error))?,
        };
        if (sizes.crc, sizes.unpacked) != (self.crc.sum(), unpacked) || left > 0 {
            let error = io::Error::new(io::ErrorKind::InvalidData, "the checksum or the size is another");
            return Err(damaged(Compression::Zip, error));
        }
        self.state = if self.known.is_some() { State::Done(input) } else { State::After(input) };
        Ok(())
    }

    /// Reads what follows the file: a second one is one too many, and no directory means that the zip was cut off.
    fn look_behind(&mut self) -> Result<(), ReadError> {
        let State::After(mut input) = std::mem::replace(&mut self.state, State::Ended) else { return Ok(()) };
        while let Some(header) = Header::read(&mut input)? {
            if !is_clutter(&header.name) {
                return Err(several(&[std::mem::take(&mut self.name), header.name], "at least two"));
            }
            header.skip(&mut input)?;
        }
        // Whoever writes a pipe wants it to be read to its end.
        io::copy(&mut input, &mut io::sink())?;
        self.state = State::Done(input);
        Ok(())
    }
}

/// The header of a file in a zip.
struct Header {
    name: String,
    method: u16,
    encrypted: bool,
    /// None where they stand behind the data.
    sizes: Option<Sizes>,
    /// Whether the sizes behind the data have 64 bits.
    wide: bool,
}

impl Header {
    /// Reads the next header; none where the directory begins.
    fn read(input: &mut impl Read) -> Result<Option<Self>, ReadError> {
        let fail = |error| damaged(Compression::Zip, error);
        let mut magic = [0; 4];
        input.read_exact(&mut magic).map_err(fail)?;
        if [DIRECTORY, DIRECTORY_END].contains(&magic) {
            return Ok(None);
        }
        if magic != FILE_HEADER {
            return Err(fail(io::Error::new(io::ErrorKind::InvalidData, "something else stands between its files")));
        }
        let mut fixed = [0; 26];
        input.read_exact(&mut fixed).map_err(fail)?;
        let short = |at: usize| u16::from_le_bytes([fixed[at], fixed[at + 1]]);
        let long = |at: usize| u32::from_le_bytes([fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]]);
        let (flags, method) = (short(2), short(4));
        let mut name = vec![0; usize::from(short(22))];
        input.read_exact(&mut name).map_err(fail)?;
        let mut extra = vec![0; usize::from(short(24))];
        input.read_exact(&mut extra).map_err(fail)?;
        let wide = wide_sizes(&extra);
        let mut sizes = Sizes { crc: long(10), packed: long(14).into(), unpacked: long(18).into() };
        if let Some((unpacked, packed)) = wide
            && (sizes.packed, sizes.unpacked) == (u32::MAX.into(), u32::MAX.into())
        {
            (sizes.packed, sizes.unpacked) = (packed, unpacked);
        }
        Ok(Some(Self {
            name: String::from_utf8_lossy(&name).into_owned(),
            method,
            encrypted: flags & ENCRYPTED != 0,
            sizes: (flags & SIZES_BEHIND == 0).then_some(sizes),
            wide: wide.is_some(),
        }))
    }

    /// Refuses what cannot be unpacked.
    fn check(&self) -> Result<(), ReadError> {
        let problem = match self.method {
            _ if self.encrypted => "an encrypted file".to_owned(),
            STORED | DEFLATED => return Ok(()),
            method => format!("the compression method {method}"),
        };
        let name = Quoted(&self.name);
        Err(ReadError::Refused(format!(
            "expected stored or deflated data for {name} in the zip, got {problem}: unpack it first"
        )))
    }

    /// Passes over the data that follow.
    fn skip(&self, input: &mut impl Read) -> Result<(), ReadError> {
        let sizes = match self.sizes {
            Some(sizes) => sizes,
            // A folder has no data, and nothing else is passed over without its size.
            None if self.name.ends_with('/') && self.method == STORED => {
                read_descriptor(input, self.wide).map_err(|error| damaged(Compression::Zip, error))?;
                return Ok(());
            }
            None => return Err(several(std::slice::from_ref(&self.name), "another one")),
        };
        let skipped = io::copy(&mut input.take(sizes.packed), &mut io::sink())?;
        if skipped < sizes.packed {
            return Err(damaged(Compression::Zip, io::ErrorKind::UnexpectedEof.into()));
        }
        Ok(())
    }
}

/// Reads the sizes that stand behind data: their own mark in front of them may be missing.
fn read_descriptor(input: &mut impl Read, wide: bool) -> io::Result<Sizes> {
    let mut word = [0; 4];
    input.read_exact(&mut word)?;
    if word == DESCRIPTOR {
        input.read_exact(&mut word)?;
    }
    let crc = u32::from_le_bytes(word);
    let mut size = || {
        let mut bytes = [0; 8];
        input.read_exact(&mut bytes[..if wide { 8 } else { 4 }])?;
        io::Result::Ok(u64::from_le_bytes(bytes))
    };
    Ok(Sizes { crc, packed: size()?, unpacked: size()? })
}

/// Finds the sizes of 64 bits among the extra fields: first the unpacked, then the packed one.
fn wide_sizes(mut extra: &[u8]) -> Option<(u64, u64)> {
    while let Some((&[id_low, id_high, len_low, len_high], rest)) = extra.split_first_chunk::<4>() {
        let (field, rest) = rest.split_at_checked(u16::from_le_bytes([len_low, len_high]).into())?;
        if u16::from_le_bytes([id_low, id_high]) == 1 {
            let (unpacked, field) = field.split_first_chunk()?;
            let (packed, _) = field.split_first_chunk()?;
            return Some((u64::from_le_bytes(*unpacked), u64::from_le_bytes(*packed)));
        }
        extra = rest;
    }
    None
}

/// Finds the one file in a zip by the directory at its end; none if there is no directory to be read.
fn only_file(file: &mut File) -> Result<Option<(u64, Sizes)>, ReadError> {
    let Ok(mut archive) = ZipArchive::new(BufReader::new(file)) else { return Ok(None) };
    let mut names = Vec::new();
    let mut only = None;
    let mut more = 0;
    for index in 0..archive.len() {
        let Ok(entry) = archive.by_index_raw(index) else { return Ok(None) };
        let name = String::from_utf8_lossy(entry.name_raw()).into_owned();
        if is_workbook(&name) {
            return Err(workbook());
        }
        if is_clutter(&name) {
            continue;
        }
        let sizes = Sizes { crc: entry.crc32(), packed: entry.compressed_size(), unpacked: entry.size() };
        only = Some((entry.header_start(), sizes));
        if names.len() < NAMES_LISTED {
            names.push(name);
        } else {
            more += 1;
        }
    }
    match (names.len(), only) {
        (_, None) => Err(no_file()),
        (1, only) => Ok(only),
        (listed, _) => Err(several(&names, &(listed + more).to_string())),
    }
}

/// Folders, and what macOS puts beside each file.
fn is_clutter(name: &str) -> bool {
    name.ends_with('/') || name.starts_with("__MACOSX/") || name.rsplit('/').next() == Some(".DS_Store")
}

fn is_workbook(name: &str) -> bool {
    name == "[Content_Types].xml"
}

fn workbook() -> ReadError {
    ReadError::Refused("expected CSV or JSON, got an Excel workbook: save it as CSV first".into())
}

fn no_file() -> ReadError {
    ReadError::Refused("expected one file in the zip, got none".into())
}

fn several(names: &[String], count: &str) -> ReadError {
    let listed: Vec<String> = names.iter().map(|name| Quoted(name).to_string()).collect();
    ReadError::Refused(format!(
        "expected one file in the zip, got {count} ({}): load one with `unzip -p ZIP NAME | mds ingest ... -`",
        listed.join(", ")
    ))
}
