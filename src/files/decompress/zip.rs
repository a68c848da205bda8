//! The one file in a zip, found by the directory at the end of the zip, and decompressed as it streams by.

use std::{
    fs::File,
    io::{self, BufReader, Read, Seek, SeekFrom, Take},
};

use flate2::{CrcReader, read::DeflateDecoder};
use zip::{CompressionMethod, ZipArchive, result::ZipError};

use super::{Compression, Counted, damaged};
use crate::{
    files::{chunk::ReadError, tables},
    text::Quoted,
};

/// The most names of files in a zip that an error lists.
const NAMES_LISTED: usize = 10;

/// The file in a zip.
pub(super) struct ZipReader {
    name: String,
    data: CrcReader<Data>,
    /// The checksum and the length that the directory says.
    crc: u32,
    length: u64,
    /// How many bytes came out.
    read: u64,
}

enum Data {
    Stored(Take<Counted<File>>),
    Deflated(DeflateDecoder<Take<Counted<File>>>),
}

impl ZipReader {
    /// Finds the file by the zip's directory.
    ///
    /// # Errors
    /// The directory or the file cannot be read, or there are several files or none.
    pub(super) fn open(mut zip: File) -> Result<Self, ReadError> {
        let mut archive = ZipArchive::new(BufReader::new(&zip)).map_err(no_directory)?;
        let index = only_file(&mut archive)?;
        let entry = archive.by_index_raw(index).map_err(no_directory)?;
        let name = name_of(entry.name_raw());
        let is_deflated = match entry.compression() {
            _ if entry.encrypted() => return Err(unknown(&name, "an encrypted file")),
            CompressionMethod::STORE => false,
            CompressionMethod::DEFLATE => true,
            method => {
                #[expect(deprecated, reason = "the library has no other way to a method's number")]
                let number = method.to_u16();
                return Err(unknown(&name, &format!("the compression method {number}")));
            }
        };
        let (crc, length, packed) = (entry.crc32(), entry.size(), entry.compressed_size());
        let start = entry.data_start().unwrap_or_default();
        drop(entry);
        drop(archive);
        zip.seek(SeekFrom::Start(start))?;
        let data = Counted { input: zip, bytes: 0 }.take(packed);
        let data = if is_deflated { Data::Deflated(DeflateDecoder::new(data)) } else { Data::Stored(data) };
        Ok(Self { name, data: CrcReader::new(data), crc, length, read: 0 })
    }

    /// Returns the name of the file.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Returns how many bytes of the data have been read, compressed as they are.
    pub(super) fn bytes_read(&self) -> u64 {
        match self.data.get_ref() {
            Data::Stored(data) => data.get_ref().bytes,
            Data::Deflated(data) => data.get_ref().get_ref().bytes,
        }
    }

    /// Reads some of what is in the file; 0 at its end, which is checked against what the directory says.
    pub(super) fn read(&mut self, buf: &mut [u8]) -> Result<usize, ReadError> {
        let read = self.data.read(buf).map_err(|error| damaged(Compression::Zip, error))?;
        self.read += read as u64;
        if read == 0 && (self.data.crc().sum(), self.read) != (self.crc, self.length) {
            let error = io::Error::new(io::ErrorKind::InvalidData, "the checksum or the size is another");
            return Err(damaged(Compression::Zip, error));
        }
        Ok(read)
    }
}

impl Read for Data {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Stored(data) => data.read(buf),
            Self::Deflated(data) => data.read(buf),
        }
    }
}

/// Finds the one file in a zip.
fn only_file<R: Read + Seek>(archive: &mut ZipArchive<R>) -> Result<usize, ReadError> {
    let (mut names, mut only, mut files) = (Vec::new(), None, 0);
    for index in 0..archive.len() {
        let name = name_of(archive.by_index_raw(index).map_err(no_directory)?.name_raw());
        if name == "[Content_Types].xml" || name.starts_with("xl/") {
            return Err(ReadError::Refused(tables::excel("FILE")));
        }
        if is_clutter(&name) {
            continue;
        }
        files += 1;
        only = Some(index);
        if names.len() < NAMES_LISTED {
            names.push(Quoted(&name).to_string());
        }
    }
    match only {
        None => Err(ReadError::Refused("expected one file in the zip, got none".into())),
        // The library keeps one file of a name.
        Some(_) if archive.has_duplicate_names() => {
            Err(ReadError::Refused("expected one file in the zip, got several of one name: unpack it first".into()))
        }
        Some(only) if files == 1 => Ok(only),
        Some(_) => Err(ReadError::Refused(format!(
            "expected one file in the zip, got {files} ({}): load one with `unzip -p ZIP NAME | mds ingest ... -`",
            names.join(", ")
        ))),
    }
}

fn name_of(raw: &[u8]) -> String {
    String::from_utf8_lossy(raw).into_owned()
}

/// Folders, and what macOS puts beside each file.
fn is_clutter(name: &str) -> bool {
    name.ends_with('/') || name.starts_with("__MACOSX/") || name.rsplit('/').next() == Some(".DS_Store")
}

fn no_directory(error: ZipError) -> ReadError {
    match error {
        ZipError::Io(error) if error.raw_os_error().is_some() => error.into(),
        error => damaged(Compression::Zip, io::Error::new(io::ErrorKind::InvalidData, error.to_string())),
    }
}

fn unknown(name: &str, problem: &str) -> ReadError {
    ReadError::Refused(format!(
        "expected stored or deflated data for {} in the zip, got {problem}: unpack it first",
        Quoted(name)
    ))
}
