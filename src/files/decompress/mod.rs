//! What a file is packed in: gzip, Zstandard or zip, known by its first bytes and unpacked as it streams by.

mod gzip;
mod zip;
mod zstd;

use std::{
    fs::File,
    io::{self, BufReader, Chain, Cursor, Read},
};

use self::{gzip::GzipReader, zip::ZipReader, zstd::ZstdReader};
use super::chunk::ReadError;

/// The longest of the beginnings by which a container is known.
const MAGIC_BYTES: usize = 4;

/// What a file is packed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// One member, or several behind each other as `cat a.gz b.gz` makes.
    Gzip,
    /// One frame, or several behind each other.
    Zstd,
    /// One file in a zip.
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
}

/// An input without what it is packed in. Memory does not grow with what comes out of it.
pub(crate) struct Decompressed<R: Read> {
    state: State<R>,
    compression: Option<Compression>,
    /// What was read of a zip, or of an input that is no longer there.
    bytes_read: u64,
}

/// The bytes that were looked at, and the input behind them.
type Rewound<R> = BufReader<Chain<Cursor<Vec<u8>>, Counted<R>>>;

enum State<R: Read> {
    /// Nothing was read yet.
    New(Counted<R>),
    Plain(Counted<R>),
    Gzip(Box<GzipReader<Rewound<R>>>),
    Zstd(Box<ZstdReader<Rewound<R>>>),
    Zip(Box<ZipReader<Rewound<R>>>),
    /// The input failed or was refused.
    Ended,
}

/// What the first bytes show.
enum Look {
    Plain,
    Packed(Compression),
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
        return Look::Packed(*compression);
    }
    let begins = bytes.iter().take(MAGIC_BYTES).enumerate().all(|(at, byte)| skippable(at, *byte));
    match bytes.len() {
        MAGIC_BYTES.. if begins => Look::Packed(Compression::Zstd),
        ..MAGIC_BYTES if begins || MAGIC.iter().any(|(magic, _)| magic.starts_with(bytes)) => Look::TooFew,
        _ => Look::Plain,
    }
}

impl<R: Read> Decompressed<R> {
    pub(crate) fn new(input: R) -> Self {
        Self { state: State::New(Counted { input, bytes: 0 }), compression: None, bytes_read: 0 }
    }

    /// Returns what the input is packed in, once something was read.
    pub(crate) fn compression(&self) -> Option<Compression> {
        self.compression
    }

    /// Returns how many bytes of the input have been read, packed as they are.
    pub(crate) fn bytes_read(&self) -> u64 {
        match &self.state {
            State::New(input) | State::Plain(input) => input.bytes,
            State::Gzip(gzip) => gzip.get_ref().map_or(0, |input| input.get_ref().get_ref().1.bytes),
            State::Zstd(zstd) => zstd.get_ref().get_ref().get_ref().1.bytes,
            State::Zip(_) | State::Ended => self.bytes_read,
        }
    }

    /// Returns the name of the file in a zip, once it was read from.
    pub(crate) fn member(&self) -> Option<&str> {
        match &self.state {
            State::Zip(member) => member.name(),
            _ => None,
        }
    }

    /// Says what follows the packed data, once they have ended, if it is not what may stand there.
    pub(crate) fn rubbish(&self) -> Option<ReadError> {
        match &self.state {
            State::Gzip(gzip) => gzip.rubbish(),
            _ => None,
        }
    }

    /// Reads into `buf`, which has room for more than a magic number, until something is known or came out; returns the
    /// number of bytes, 0 at the end. It blocks as long as one read of the input blocks, except where that gave too few
    /// bytes to go on with.
    pub(crate) fn read(&mut self, buf: &mut [u8]) -> Result<usize, ReadError> {
        loop {
            let read = match self.try_read(buf) {
                Err(ReadError::Io(error)) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read,
            };
            if read.is_err() {
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
            State::Zstd(zstd) => zstd.read(buf).map_err(|error| damaged(Compression::Zstd, error)),
            State::Zip(member) => {
                let read = member.read(buf);
                // Once it has failed, its input is gone.
                self.bytes_read = member.get_ref().map_or(self.bytes_read, |input| input.get_ref().get_ref().1.bytes);
                read
            }
            State::Ended => Ok(0),
        }
    }

    /// Reads the first bytes. Those of a file that is not packed are handed over as they are.
    fn begin(&mut self, buf: &mut [u8]) -> Result<usize, ReadError> {
        let State::New(mut input) = std::mem::replace(&mut self.state, State::Ended) else { return Ok(0) };
        let mut read = 0;
        let compression = loop {
            let more = match input.read(&mut buf[read..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                more => more?,
            };
            read += more;
            match look(&buf[..read]) {
                Look::Packed(compression) => break compression,
                Look::TooFew if more > 0 => {}
                Look::Plain | Look::TooFew => {
                    self.state = State::Plain(input);
                    return Ok(read);
                }
            }
        };
        self.compression = Some(compression);
        let rewound = BufReader::new(Cursor::new(buf[..read].to_vec()).chain(input));
        self.state = match compression {
            Compression::Gzip => State::Gzip(Box::new(GzipReader::new(rewound))),
            Compression::Zstd => State::Zstd(Box::new(ZstdReader::new(rewound)?)),
            Compression::Zip => State::Zip(Box::new(ZipReader::of_stream(rewound))),
        };
        self.try_read(buf)
    }
}

impl Decompressed<Box<dyn Read + Send>> {
    /// Opens a file. Of a zip the directory at its end is read first, so that one with several files is refused before
    /// anything of it is used.
    pub(crate) fn open(mut file: File) -> Result<Self, ReadError> {
        let mut magic = [0; MAGIC_BYTES];
        // A pipe cannot be read twice, and what is no file has no directory at its end.
        if !file.metadata()?.is_file() {
            return Ok(Self::new(Box::new(file)));
        }
        let read = read_up_to(&mut file, &mut magic)?;
        io::Seek::rewind(&mut file)?;
        if !matches!(look(&magic[..read]), Look::Packed(Compression::Zip)) {
            return Ok(Self::new(Box::new(file)));
        }
        let input = Counted { input: Box::new(file.try_clone()?) as Box<dyn Read + Send>, bytes: 0 };
        let rewound = BufReader::new(Cursor::new(Vec::new()).chain(input));
        let member = ZipReader::of_file(&mut file, rewound)?;
        Ok(Self { state: State::Zip(Box::new(member)), compression: Some(Compression::Zip), bytes_read: 0 })
    }
}

fn read_up_to(input: &mut impl Read, buf: &mut [u8]) -> io::Result<usize> {
    let mut read = 0;
    while read < buf.len() {
        match input.read(&mut buf[read..]) {
            Ok(0) => break,
            Ok(more) => read += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(read)
}

/// Says that packed data are damaged, or where the input itself failed, that.
pub(crate) fn damaged(compression: Compression, error: io::Error) -> ReadError {
    let compression = compression.as_str();
    if error.raw_os_error().is_some() || error.kind() == io::ErrorKind::Interrupted {
        return error.into();
    }
    // The library has no other word for it.
    if error.to_string().starts_with("Frame requires too much memory") {
        return ReadError::Refused(format!(
            "expected {compression} data with a window of at most 128 MiB, got a larger one: unpack them first, as in \
             `zstd -dc --long=31 FILE | mds ingest ... -`"
        ));
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

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Crc, write::GzEncoder};
    use proptest::prelude::*;

    use super::*;

    const TEXT: &[u8] = b"date,open,high,low,close\n2024-01-02,2,4,1,3\n";

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(text: &[u8]) -> Vec<u8> {
        // With a checksum, as its own tool writes one.
        let mut encoder = ::zstd::Encoder::new(Vec::new(), 0).unwrap();
        encoder.include_checksum(true).unwrap();
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    /// How a file is written into a zip.
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum How {
        Stored,
        Deflated,
        /// Deflated, with the sizes behind the data, marked or not.
        Streamed {
            marked: bool,
            wide: bool,
        },
        Encrypted,
        Method(u16),
    }

    /// Writes a zip of these files. By hand, since writers do not write what they should not.
    fn zip(files: &[(&str, &[u8], How)]) -> Vec<u8> {
        let (mut bytes, mut directory) = (Vec::new(), Vec::new());
        for (name, text, how) in files {
            let data = match how {
                How::Deflated | How::Streamed { .. } => {
                    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
                    encoder.write_all(text).unwrap();
                    encoder.finish().unwrap()
                }
                _ => text.to_vec(),
            };
            let (flags, method) = match how {
                How::Stored => (0_u16, 0_u16),
                How::Deflated => (0, 8),
                How::Streamed { .. } => (8, 8),
                How::Encrypted => (1, 8),
                How::Method(method) => (0, *method),
            };
            let mut crc = Crc::new();
            crc.update(text);
            let sizes = [crc.sum(), data.len() as u32, text.len() as u32];
            let here = if matches!(how, How::Streamed { .. }) { [0; 3] } else { sizes };
            let extra: &[u8] = match how {
                How::Streamed { wide: true, .. } => &[1, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
                _ => &[],
            };
            let header = |sizes: [u32; 3], extra: &[u8]| {
                let mut header = [20_u16.to_le_bytes(), flags.to_le_bytes(), method.to_le_bytes()].concat();
                header.extend([0; 4]);
                header.extend(sizes.iter().flat_map(|size| size.to_le_bytes()));
                header.extend((name.len() as u16).to_le_bytes());
                header.extend((extra.len() as u16).to_le_bytes());
                header
            };
            directory.extend(b"PK\x01\x02\x14\0");
            directory.extend(header(sizes, &[]));
            directory.extend([0; 10]);
            directory.extend((bytes.len() as u32).to_le_bytes());
            directory.extend(name.as_bytes());
            bytes.extend(b"PK\x03\x04");
            bytes.extend(header(here, extra));
            bytes.extend(name.as_bytes());
            bytes.extend(extra);
            bytes.extend(&data);
            if let How::Streamed { marked, wide } = how {
                bytes.extend(if *marked { &b"PK\x07\x08"[..] } else { &[] });
                bytes.extend(sizes[0].to_le_bytes());
                for size in &sizes[1..] {
                    let size = u64::from(*size).to_le_bytes();
                    bytes.extend(if *wide { &size[..] } else { &size[..4] });
                }
            }
        }
        let (start, count) = (bytes.len() as u32, files.len() as u16);
        bytes.extend(&directory);
        bytes.extend(b"PK\x05\x06\0\0\0\0");
        bytes.extend([count.to_le_bytes(), count.to_le_bytes()].concat());
        bytes.extend((directory.len() as u32).to_le_bytes());
        bytes.extend(start.to_le_bytes());
        bytes.extend([0; 2]);
        bytes
    }

    fn one(how: How) -> Vec<u8> {
        zip(&[("bars/", b"", How::Stored), ("bars/a.csv", TEXT, how), ("__MACOSX/bars/._a.csv", b"x", How::Stored)])
    }

    /// Hands out one byte at a time, as the slowest of pipes.
    struct Drip<'a>(&'a [u8]);

    impl Read for Drip<'_> {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            self.0.read(&mut buf[..1])
        }
    }

    /// What came out, of what, how many bytes were read, and how it ended.
    type Drained = (Vec<u8>, Option<Compression>, u64, Result<(), String>);

    fn drain(mut unpacked: Decompressed<impl Read>) -> Drained {
        let (mut text, mut buf) = (Vec::new(), [0; 1024]);
        let result = loop {
            match unpacked.read(&mut buf) {
                Ok(0) => break Ok(()),
                Ok(read) => text.extend(&buf[..read]),
                Err(error) => break Err(error.to_string()),
            }
        };
        assert_eq!(unpacked.read(&mut buf).unwrap(), 0, "an end stays one");
        (text, unpacked.compression(), unpacked.bytes_read(), result)
    }

    fn from_file(bytes: &[u8]) -> Result<Drained, String> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        io::Seek::rewind(&mut file).unwrap();
        Decompressed::open(file).map(drain).map_err(|error| error.to_string())
    }

    // Red if a second member is forgotten, a container is known by more than its first bytes, or what has the letters PK
    // at its front is taken for a zip.
    #[test]
    fn the_first_bytes_tell_what_a_file_is_packed_in() {
        let streamed = |marked, wide| one(How::Streamed { marked, wide });
        let skippable = [&b"\x5a\x2a\x4d\x18\x02\0\0\0ab"[..], &zstd(TEXT)].concat();
        for (bytes, compression) in [
            (TEXT.to_vec(), None),
            (gzip(TEXT), Some(Compression::Gzip)),
            ([gzip(&TEXT[..10]), gzip(b""), gzip(&TEXT[10..])].concat(), Some(Compression::Gzip)),
            (zstd(TEXT), Some(Compression::Zstd)),
            ([zstd(&TEXT[..10]), zstd(&TEXT[10..])].concat(), Some(Compression::Zstd)),
            (skippable, Some(Compression::Zstd)),
            (one(How::Stored), Some(Compression::Zip)),
            (one(How::Deflated), Some(Compression::Zip)),
            (streamed(true, false), Some(Compression::Zip)),
            (streamed(false, false), Some(Compression::Zip)),
            (streamed(true, true), Some(Compression::Zip)),
        ] {
            let expected = (TEXT.to_vec(), compression, bytes.len() as u64, Ok(()));
            assert_eq!(drain(Decompressed::new(&bytes[..])), expected);
            assert_eq!(drain(Decompressed::new(Drip(&bytes))), expected);
            let from_file = from_file(&bytes).unwrap();
            assert_eq!((&from_file.0, from_file.1, &from_file.3), (&expected.0, expected.1, &expected.3));
        }
        for text in [&b"PK,a\n"[..], b"PK\x03", b"P", b"\x28\xb5", b"", b"Price,Close\n"] {
            let expected = (text.to_vec(), None, text.len() as u64, Ok(()));
            assert_eq!(drain(Decompressed::new(text)), expected);
            assert_eq!(drain(Decompressed::new(Drip(text))), expected);
        }
    }

    // Red if the rows before a cut are lost with it, or a file that lacks its end passes for a whole one.
    #[test]
    fn what_is_cut_off_fails_after_what_came_before() {
        let text = TEXT.repeat(20_000);
        let cut = |mut bytes: Vec<u8>, by: usize| {
            bytes.truncate(bytes.len() - by);
            bytes
        };
        let zip = zip(&[("a.csv", &text, How::Deflated)]);
        let streamed = self::zip(&[("a.csv", &text, How::Streamed { marked: true, wide: false })]);
        let stored = self::zip(&[("a.csv", &text, How::Stored)]);
        // The directory of these has 51 bytes, its end 22.
        for (bytes, compression) in [
            (cut(gzip(&text), 1), "gzip"),
            (cut(gzip(&text), 100), "gzip"),
            (cut(zstd(&text), 1), "zstd"),
            (cut(zip.clone(), 51 + 22), "zip"),
            (cut(zip, 51 + 22 + 100), "zip"),
            (cut(stored, 51 + 22 + 100), "zip"),
            (cut(streamed.clone(), 51 + 22 + 8), "zip"),
            (cut(streamed, 51 + 22 + 16 + 100), "zip"),
        ] {
            let expected = format!(
                "cannot read: expected more {compression} data, got the end of the file: it was cut off, fetch it again"
            );
            for (out, _, _, result) in [drain(Decompressed::new(&bytes[..])), from_file(&bytes).unwrap()] {
                assert_eq!(result, Err(expected.clone()));
                assert!(out.len() > text.len() / 2 && text.starts_with(&out), "{compression}: {} bytes", out.len());
            }
        }
    }

    #[test]
    fn what_is_damaged_fails() {
        let flip = |mut bytes: Vec<u8>, at: usize| {
            bytes[at] ^= 0x55;
            bytes
        };
        let (gz, stored) = (gzip(TEXT), one(How::Stored));
        let at = stored.windows(TEXT.len()).position(|window| window == TEXT).unwrap();
        for (bytes, compression) in [
            (flip(gz.clone(), gz.len() - 6), "gzip"),
            (flip(zstd(TEXT), 10), "zstd"),
            (flip(stored, at + 5), "zip"),
            ([b"PK\x03\x04", &[0; 40][..]].concat(), "zip"),
        ] {
            let (_, _, _, result) = drain(Decompressed::new(&bytes[..]));
            let error = result.unwrap_err();
            let expected =
                format!("cannot read: expected sound {compression} data, got damaged ones, fetch the file again: ");
            assert!(error.starts_with(&expected), "{error}");
        }
    }

    // Sabotage: take zeros for the beginning of a member, or let rubbish pass for the end.
    #[test]
    fn padding_behind_gzip_is_passed_over_and_rubbish_is_named_after_what_came_before() {
        let (one, zeros) = (gzip(TEXT), [0; 700]);
        for (bytes, times, rubbish) in [
            ([&one[..], &zeros].concat(), 1, false),
            ([&one[..], &zeros, &one, &zeros[..1]].concat(), 2, false),
            ([&one[..], b"rubbish, not a member"].concat(), 1, true),
            ([&one[..], &one, &zeros, b"\x1frubbish, not a member"].concat(), 2, true),
            ([&one[..], &zeros, b"x"].concat(), 1, true),
        ] {
            for input in [Box::new(&bytes[..]) as Box<dyn Read>, Box::new(Drip(&bytes))] {
                let mut unpacked = Decompressed::new(input);
                let (mut text, mut buf) = (Vec::new(), [0; 1024]);
                loop {
                    match unpacked.read(&mut buf).unwrap() {
                        0 => break,
                        read => text.extend(&buf[..read]),
                    }
                }
                assert_eq!((text, unpacked.rubbish().is_some()), (TEXT.repeat(times), rubbish));
            }
        }
        let cut = [&one[..], &zeros, &one[..9]].concat();
        assert!(drain(Decompressed::new(&cut[..])).3.unwrap_err().ends_with("it was cut off, fetch it again"));
    }

    // Sabotage: leave it to the library to compare a frame with its length: by the byte the first three end as if they
    // were sound, empty or too short.
    #[test]
    fn a_frame_that_holds_other_than_it_declares_fails_whatever_the_pieces() {
        // Of 143 bytes by its header, and its one block is empty and the last.
        let empty = b"\x28\xb5\x2f\xfd\x20\x8f\x01\x00\x00".to_vec();
        let sound = ::zstd::bulk::compress(TEXT, 1).unwrap();
        let skipped = b"\x50\x2a\x4d\x18\x02\0\0\0ab";
        // A raw block of two bytes in front of the empty one.
        let short = b"\x28\xb5\x2f\xfd\x20\x08\x10\x00\x00ab\x01\x00\x00";
        // The frames in front come out whole, and of the broken one what it has or nothing.
        for (bytes, before, broken) in [
            (empty.clone(), &b""[..], &b""[..]),
            (short.to_vec(), b"", b"ab"),
            ([&sound, &empty[..], &sound].concat(), TEXT, b""),
            ([&sound, &short[..], &sound].concat(), TEXT, b"ab"),
            ([&skipped[..], &sound, skipped, &empty].concat(), TEXT, b""),
        ] {
            let expected = "cannot read: expected sound zstd data, got damaged ones, fetch the file again: ";
            for (out, _, _, result) in [drain(Decompressed::new(&bytes[..])), drain(Decompressed::new(Drip(&bytes)))] {
                let error = result.expect_err("a frame without what it declares");
                assert!(error.starts_with(expected), "{error}");
                let of_broken = out.strip_prefix(before).expect("what came before is whole");
                assert!([&b""[..], broken].contains(&of_broken), "{}", bytes.escape_ascii());
            }
        }
        let bytes = [&sound, &skipped[..], &sound, skipped].concat();
        for (out, _, _, result) in [drain(Decompressed::new(&bytes[..])), drain(Decompressed::new(Drip(&bytes)))] {
            assert_eq!((out, result), (TEXT.repeat(2), Ok(())));
        }
    }

    // Sabotage: call it damaged, which sends for the file again.
    #[test]
    fn a_frame_that_asks_for_too_much_memory_is_refused_with_what_unpacks_it() {
        // A window of 2 GiB, and one empty block.
        let bytes = b"\x28\xb5\x2f\xfd\x00\xa8\x01\x00\x00";
        for (out, _, _, result) in [drain(Decompressed::new(&bytes[..])), drain(Decompressed::new(Drip(bytes)))] {
            let expected = "expected zstd data with a window of at most 128 MiB, got a larger one: unpack them first, as in \
                            `zstd -dc --long=31 FILE | mds ingest ... -`";
            assert_eq!((out, result), (Vec::new(), Err(expected.to_owned())));
        }
    }

    #[test]
    fn a_zip_that_is_not_one_file_is_refused_before_anything_is_read_where_it_can_be() {
        let two = zip(&[("x/", b"", How::Stored), ("x/a.csv", TEXT, How::Deflated), ("b.csv", TEXT, How::Stored)]);
        let many: Vec<String> = (0..12).map(|n| format!("{n}.csv")).collect();
        let many: Vec<_> = many.iter().map(|name| (name.as_str(), TEXT, How::Stored)).collect();
        let advice = "load one with `unzip -p ZIP NAME | mds ingest ... -`";
        assert_eq!(
            from_file(&two).unwrap_err(),
            format!("expected one file in the zip, got 2 (\"x/a.csv\", \"b.csv\"): {advice}")
        );
        let error = from_file(&zip(&many)).unwrap_err();
        assert!(
            error.starts_with("expected one file in the zip, got 12 (\"0.csv\", ") && error.contains("\"9.csv\")"),
            "{error}"
        );
        let (text, _, _, result) = drain(Decompressed::new(&two[..]));
        assert_eq!(
            (&text[..], result),
            (TEXT, Err(format!("expected one file in the zip, got at least two (\"x/a.csv\", \"b.csv\"): {advice}")))
        );
        for (bytes, expected) in [
            (zip(&[]), "expected one file in the zip, got none"),
            (zip(&[("x/", b"", How::Stored)]), "expected one file in the zip, got none"),
            (
                zip(&[
                    ("[Content_Types].xml", b"<xml/>", How::Deflated),
                    ("xl/workbook.xml", b"<xml/>", How::Deflated),
                ]),
                "expected CSV or JSON, got an Excel workbook: save it as CSV first",
            ),
            (
                zip(&[("a.csv", TEXT, How::Encrypted)]),
                "expected stored or deflated data for \"a.csv\" in the zip, got an encrypted file: unpack it first",
            ),
            (
                zip(&[("a.csv", TEXT, How::Method(14))]),
                "expected stored or deflated data for \"a.csv\" in the zip, got the compression method 14: unpack it first",
            ),
        ] {
            assert_eq!(drain(Decompressed::new(&bytes[..])).3, Err(expected.to_owned()));
            let file = from_file(&bytes).map(|drained| drained.3);
            assert!(matches!(&file, Err(error) | Ok(Err(error)) if error == expected), "{file:?}");
        }
    }

    // Red if anything is unpacked as a whole: what comes out is a thousand times what goes in.
    #[test]
    fn a_bomb_streams_by() {
        const SIZE: usize = 16 << 20;
        let zeros = io::repeat(b'0').take(SIZE as u64);
        let mut gz = flate2::read::GzEncoder::new(zeros, flate2::Compression::fast());
        let mut packed = Vec::new();
        gz.read_to_end(&mut packed).unwrap();
        assert!(packed.len() < SIZE / 100);
        let (mut unpacked, mut buf, mut out) = (Decompressed::new(&packed[..]), vec![0; 64 << 10], 0);
        let mut most = 0;
        loop {
            let before = unpacked.bytes_read();
            match unpacked.read(&mut buf).unwrap() {
                0 => break,
                read => out += read,
            }
            most = most.max(unpacked.bytes_read() - before);
        }
        assert_eq!(out, SIZE);
        assert!(most <= 64 << 10, "{most} bytes were taken in one step");
    }

    proptest! {
        // Red if a header that promises more than there is, or a length that wraps, ends in a panic.
        #[test]
        fn damage_never_panics(
            which in 0..4_usize,
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut bytes = match which {
                0 => gzip(TEXT),
                1 => zstd(TEXT),
                2 => one(How::Deflated),
                _ => one(How::Streamed { marked: true, wide: true }),
            };
            for (at, byte) in damage {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            bytes.truncate(cut.index(bytes.len()) + 1);
            let _ = (drain(Decompressed::new(&bytes[..])), from_file(&bytes));
        }
    }
}
