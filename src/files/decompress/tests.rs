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

// Red if a second member is forgotten, a container is known by more than its first bytes, what has the letters PK at its
// front is taken for a zip, or a zip on a pipe is taken for CSV.
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
        let from_file = from_file(&bytes).unwrap();
        assert_eq!((&from_file.0, from_file.1, &from_file.3), (&expected.0, expected.1, &expected.3));
        if compression == Some(Compression::Zip) {
            let message = "expected CSV, JSON, gzip or zstd from a pipe, got a zip, which is read from a file only: unpack it \
                           first, as in `unzip -p FILE.zip | mds ingest ... -`";
            for (out, _, _, result) in [drain(Decompressed::new(&bytes[..])), drain(Decompressed::new(Drip(&bytes)))] {
                assert_eq!((out, result), (Vec::new(), Err(message.to_owned())));
            }
            continue;
        }
        assert_eq!(drain(Decompressed::new(&bytes[..])), expected);
        assert_eq!(drain(Decompressed::new(Drip(&bytes))), expected);
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
    for (bytes, compression) in
        [(cut(gzip(&text), 1), "gzip"), (cut(gzip(&text), 100), "gzip"), (cut(zstd(&text), 1), "zstd")]
    {
        let expected = format!(
            "cannot read: expected more {compression} data, got the end of the file: it was cut off, fetch it again"
        );
        for (out, _, _, result) in [drain(Decompressed::new(&bytes[..])), from_file(&bytes).unwrap()] {
            assert_eq!(result, Err(expected.clone()));
            assert!(out.len() > text.len() / 2 && text.starts_with(&out), "{compression}: {} bytes", out.len());
        }
    }
}

// Red if a zip without a whole directory at its end is read from its front, as far as that goes.
#[test]
fn a_zip_that_is_cut_off_is_refused_before_anything_is_read() {
    let zip = zip(&[("a.csv", &TEXT.repeat(20_000), How::Deflated)]);
    // Its directory has 51 bytes, and the end of that 22.
    for by in [1, 22, 51 + 22, 51 + 22 + 100, zip.len() - 4] {
        let error = from_file(&zip[..zip.len() - by]).unwrap_err();
        let expected = "cannot read: expected sound zip data, got damaged ones, fetch the file again: ";
        assert!(error.starts_with(expected), "{error}");
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
        let result = from_file(&bytes).and_then(|drained| drained.3);
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

// Sabotage: hand the library a whole frame at once: a block that repeats a byte no times passes then, and not by the byte.
#[test]
fn a_frame_is_the_same_however_it_is_read() {
    // It declares no bytes, and its one block says so too.
    let frame = b"\x28\xb5\x2f\xfd\x20\x00\x03\x00\x00\x00";
    let (whole, dripped) = (drain(Decompressed::new(&frame[..])), drain(Decompressed::new(Drip(frame))));
    assert_eq!((whole.0, whole.3), (dripped.0, dripped.3));
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
fn a_zip_that_is_not_one_file_is_refused_before_anything_is_read() {
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
    let twice = zip(&[("a.csv", TEXT, How::Stored), ("a.csv", TEXT, How::Stored)]);
    assert_eq!(
        from_file(&twice).unwrap_err(),
        "expected one file in the zip, got several of one name: unpack it first"
    );
    for (bytes, expected) in [
        (zip(&[]), "expected one file in the zip, got none"),
        (zip(&[("x/", b"", How::Stored)]), "expected one file in the zip, got none"),
        (
            zip(&[("[Content_Types].xml", b"<xml/>", How::Deflated), ("xl/workbook.xml", b"<xml/>", How::Deflated)]),
            "expected CSV or JSON, got an Excel workbook: make its first sheet CSV, as in `python3 -c \"import pandas; \
             pandas.read_excel('FILE').to_csv('FILE.csv', index=False)\"`, or save it as CSV",
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
        assert_eq!(from_file(&bytes).unwrap_err(), expected);
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
