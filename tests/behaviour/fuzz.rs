//! The readers under damaged files: what a disk, a vendor or an editor can do to the files in tests/data and more.
//!
//! Each case takes a file, cuts a piece out of it, damages it in up to 16 places, and reads it twice, with reads of
//! different sizes. No case may panic or go on without end, none may take a lot of memory, no chunk may be larger than
//! it may be, no row may be lost or counted twice, and the sizes of the reads may not show in what comes out. A zip is
//! read as a file alone, and what comes out is what another reader of zips finds in it. `MDS_TEST_FUZZ_SECONDS`
//! (default 1) is the time for each reader; the seed of a case that fails is printed, and `MDS_TEST_FUZZ_SEED` begins
//! with it.

use std::{
    env,
    fmt::Debug,
    fs,
    io::{self, Cursor, Read, Seek, Write},
    ops::RangeInclusive,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use market_data_store::{
    Bar, Fundamentals, News, OptionQuote, Quote, Timeframe, Trade,
    files::{Chunk, Dialect, FileInfo, FileRecord, ReadOptions, RecordReader, Rejected},
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use zip::{CompressionMethod, ZipArchive, ZipWriter, write::SimpleFileOptions};

/// A case that takes longer than this goes on without end.
const HANGS_AFTER: Duration = Duration::from_secs(60);
/// The most calls for one input: each reads once or hands over rows, and a packed one unpacks to far less than this.
const MOST_CALLS: usize = 1_000_000;
/// The most that the process may have in memory, with the other tests that run in it. No input here is larger than 1
/// MB.
const MOST_MEMORY_KB: u64 = 1024 * 1024;

/// Red if an index, a slice or a sum in the reader of CSV is not guarded, or a row falls between two chunks.
#[test]
fn damaged_csv_is_read_to_its_end() {
    fuzz(&Subject { name: "csv", files: texts(&[".csv", ".tsv", ".txt"], CSV), pack: as_it_is });
}

/// Red if a line of NDJSON is lost or counted twice.
#[test]
fn damaged_ndjson_is_read_to_its_end() {
    fuzz(&Subject { name: "ndjson", files: texts(&[".ndjson", ".jsonl"], NDJSON), pack: as_it_is });
}

/// Red if a bracket too many ends the reader, or the place of a cut in an element shows.
#[test]
fn a_damaged_array_is_read_to_its_end() {
    fuzz(&Subject { name: "array", files: texts(&[".json"], ARRAY), pack: as_it_is });
}

/// Red if what comes out of a container depends on how it is read, or damage in it ends the process.
#[test]
fn damaged_gzip_and_zstd_are_read_as_far_as_they_go() {
    fuzz(&Subject { name: "gzip and zstd", files: texts(&[".csv"], &[CSV, NDJSON, ARRAY].concat()), pack: packed });
}

/// Red if a length or an offset in a zip is believed, or memory is set aside for it.
#[test]
fn a_damaged_zip_is_read_as_far_as_it_goes() {
    fuzz(&Subject { name: "zip", files: texts(&[".zip"], &[]), pack: as_it_is });
}

/// Red if what the directory of a zip says is believed against what stands in front of the data, or the other way
/// round.
#[test]
fn a_damaged_zip_of_any_make_is_read_as_far_as_it_goes() {
    fuzz(&Subject { name: ZIPS, files: texts(&[".csv"], &[CSV, NDJSON, ARRAY].concat()), pack: zipped });
}

/// Red if a quote that is never closed ends the reader, a row of another kind than bars is lost, or where a read ends shows.
#[test]
fn damaged_files_of_other_kinds_are_read_to_their_end() {
    fuzz_kind::<Trade>();
    fuzz_kind::<Quote>();
    fuzz_kind::<OptionQuote>();
    fuzz_kind::<Fundamentals>();
    fuzz_kind::<News>();
}

/// Reads damaged files of a kind, in one piece and in many.
fn fuzz_kind<T: FileRecord + Debug + PartialEq>() {
    let budget = Duration::from_secs_f64(number("MDS_TEST_FUZZ_SECONDS").unwrap_or(1.0) / 5.0);
    let first =
        number("MDS_TEST_FUZZ_SEED").map_or_else(|| rand::rng().random_range(0..1_u64 << 40), |seed| seed as u64);
    let mut files = Vec::new();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/kinds").join(T::KIND);
    collect(&folder, &["csv", "json", "jsonl"], &mut files);
    println!("{}: {} files, MDS_TEST_FUZZ_SEED={first}", T::KIND, files.len());
    let (started, mut cases, mut read) = (Instant::now(), 0, 0);
    let watch = Watch::start(T::KIND);
    while cases == 0 || started.elapsed() < budget {
        let seed = first + cases;
        watch.case(seed);
        let is_read = catch_unwind(AssertUnwindSafe(|| case_of_kind::<T>(&files, seed)));
        read += u64::from(is_read.unwrap_or_else(|_| panic!("{}: run again with MDS_TEST_FUZZ_SEED={seed}", T::KIND)));
        cases += 1;
    }
    watch.check_memory();
    println!("{}: {cases} cases, {read} read to their end", T::KIND);
    assert!(cases < 100 || read > cases / 50, "{read} of {cases} were read at all");
}

/// Returns whether the file was read to its end.
fn case_of_kind<T: FileRecord + Debug + PartialEq>(files: &[File], seed: u64) -> bool {
    let mut random = StdRng::seed_from_u64(seed);
    let bytes = damaged(files, &mut random);
    let symbol = random.random::<bool>().then(|| "ES".into());
    let options = ReadOptions { symbol, as_written: random.random(), ..ReadOptions::default() };
    let sizes: [usize; 8] = std::array::from_fn(|_| random.random_range(1..=64));
    let whole = read_kind::<T>(&bytes, options.clone(), &[usize::MAX]);
    let pieces = read_kind::<T>(&bytes, options, &sizes);
    assert_eq!(whole, pieces, "the sizes of the reads show: {}", bytes.escape_ascii());
    whole.is_ok()
}

type OfKind<T> = (Vec<T>, Vec<Rejected>, u64, u64);

fn read_kind<T: FileRecord>(bytes: &[u8], options: ReadOptions, sizes: &[usize]) -> Result<OfKind<T>, String> {
    let mut reader = RecordReader::<T, _>::new(Pieces { bytes, sizes, reads: 0 }, options);
    let (mut all, mut chunk) = ((Vec::new(), Vec::new(), 0, 0), Chunk::default());
    for _ in 0..MOST_CALLS {
        let more = reader.next_chunk(&mut chunk).map_err(|error| error.to_string())?;
        let rows = chunk.records.len() + chunk.rejected.len() + chunk.skipped as usize;
        assert!(rows <= Chunk::MAX_ROWS, "{rows} rows in a chunk");
        all.0.extend(chunk.records.drain(..));
        all.1.append(&mut chunk.rejected);
        (all.2, all.3) = (all.2 + chunk.skipped, all.3 + chunk.replaced);
        if !more {
            return Ok(all);
        }
    }
    panic!("{} bytes take more than {MOST_CALLS} calls", bytes.len());
}

pub const CSV: &[&str] = &[
    "ts,open,high,low,close,volume\n1700000040,10,12,9,11,5\n1700000100,10,12,9,11,\n\n1700000160,,,,,\n",
    "Date;Time;Open;High;Low;Close\r\n01/04/2024;09:30;\"1\";2;1;2\r\n31/01/2024;09:31;1;2;1;2\r\n",
    "<TICKER>,<PER>,<DATE>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>\nES,1,20240102,093000,1,2,1,2,3\n",
    ",Open,High,Low,Close\n2024-01-02 09:30:00-05:00,1,2,1,2\n2024-01-03,1,2,1,2\n",
];
pub const NDJSON: &[&str] = &[
    "{\"ts\":1700000040,\"open\":1,\"high\":2,\"low\":1,\"close\":2,\"volume\":null}\n{\"symbol\":\"ES\",\"ts\":\"2024-01-02T\
     14:30:00Z\",\"open\":1.5e0,\"high\":\"2\",\"low\":1,\"close\":2,\"note\":{\"a\":[1,\"}\"]}}\n\n",
    "{\"t\":1,\"o\":1,\"h\":1,\"l\":1,\"c\":1}\r\n{\"date\":\"1/4/1999\",\"o\":1,\"h\":1,\"l\":1,\"c\":1}",
    "{\"c\":[11,12],\"h\":[12,13],\"l\":[9,10],\"o\":[10,11],\"s\":\"ok\",\"t\":[1704205800,1704205860]}\n",
    "{\n \"Meta Data\": {\"6. Time Zone\": \"US/Eastern\"},\n \"Time Series (1min)\": {\n  \"2024-01-02 09:31:00\": {\"1. open\": \
     \"11\", \"2. high\": \"13\", \"3. low\": \"10\", \"4. close\": \"12.5\"}\n }\n}\n",
];
pub const ARRAY: &[&str] = &[
    "[{\"ts\":1700000040,\"open\":1,\"high\":2,\"low\":1,\"close\":2},\n {\"ts\":1700000100,\"open\":1,\"high\":2,\"low\":1,\
     \"close\":2,\"note\":\"a \\\" ] } b\"}\n]\n",
    "[[1704205860,10,13,11,12.5,200.5],\n[1704205800,9,12,10,11,100]]",
    "[{\"ticker\":\"es\",\"priceData\":[{\"date\":\"2024-01-02\",\"open\":1,\"high\":1,\"low\":1,\"close\":1}]}]",
    "[[1,2],{\"date\":\"13/1/2024\",\"o\":1,\"h\":1,\"l\":1,\"c\":1,\"x\":{\"y\":[{}]}} , 7]",
];

/// A reader, and files that it reads.
struct Subject {
    name: &'static str,
    files: Vec<File>,
    /// Packs a damaged text, and may damage it again.
    pack: fn(Vec<u8>, &mut StdRng) -> Vec<u8>,
}

pub struct File {
    bytes: Vec<u8>,
    /// Where its lines end.
    ends: Vec<usize>,
}

/// All that an input gave, or why it was refused.
#[derive(Debug, PartialEq)]
struct Outcome {
    bars: Vec<Bar>,
    rejected: Vec<Rejected>,
    skipped: u64,
    notes: Vec<String>,
    /// Counted without the reader, where a line is a row.
    rows: Option<RangeInclusive<usize>>,
}

fn fuzz(subject: &Subject) {
    let budget = Duration::from_secs_f64(number("MDS_TEST_FUZZ_SECONDS").unwrap_or(1.0));
    let first =
        number("MDS_TEST_FUZZ_SEED").map_or_else(|| rand::rng().random_range(0..1_u64 << 40), |seed| seed as u64);
    println!("{}: {} files, MDS_TEST_FUZZ_SEED={first}", subject.name, subject.files.len());
    assert!(!subject.files.is_empty());

    let (started, mut cases, mut read, mut refused, mut as_files) = (Instant::now(), 0, 0, 0, 0);
    let watch = Watch::start(subject.name);
    while cases == 0 || started.elapsed() < budget {
        let seed = first + cases;
        watch.case(seed);
        match catch_unwind(AssertUnwindSafe(|| case(subject, seed))) {
            Ok(Case { read: true, as_file }) => (read, as_files) = (read + 1, as_files + u64::from(as_file)),
            Ok(Case { read: false, as_file }) => (refused, as_files) = (refused + 1, as_files + u64::from(as_file)),
            Err(_) => panic!("{}: run again with MDS_TEST_FUZZ_SEED={seed}", subject.name),
        }
        cases += 1;
    }
    watch.check_memory();
    println!("{}: {cases} cases, {read} read to their end, {refused} refused, {as_files} alike as files", subject.name);
    // One case proves nothing about the others: the damage must leave enough to read.
    assert!(cases < 100 || read > cases / 50, "{read} of {cases} were read at all");
    let needed = if subject.name == ZIPS { cases / 50 } else { 0 };
    assert!(cases < 100 || as_files >= needed, "{as_files} of {cases} were read as files");
}

/// What became of a case.
struct Case {
    /// To its end, in one piece and in many.
    read: bool,
    /// As a file too, with the same bars that are in the text which another reader of zips finds.
    as_file: bool,
}

fn case(subject: &Subject, seed: u64) -> Case {
    let mut random = StdRng::seed_from_u64(seed);
    let text = damaged(&subject.files, &mut random);
    let bytes = (subject.pack)(text, &mut random);
    let is_packed = [&b"\x1f\x8b"[..], b"\x28\xb5\x2f\xfd", b"PK"].iter().any(|magic| bytes.starts_with(magic));
    let options = options(&mut random);

    let is_zip = bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"PK\x05\x06");
    let whole = if is_zip { read_file(&bytes, options.clone()) } else { read(&bytes, options.clone(), &[usize::MAX]) };
    // Small and large ones alike: each at most a power of two that chance chooses.
    let mut size = || {
        let most = 1 << random.random_range(0..12);
        random.random_range(1..=most)
    };
    let sizes: [usize; 8] = std::array::from_fn(|_| size());
    // A zip is read from a file only, and a pipe refuses it.
    let pieces = if is_zip { read_file(&bytes, options.clone()) } else { read(&bytes, options.clone(), &sizes) };
    let alike = match (&whole, &pieces) {
        // Of two faults, one of the container and one of what is in it, the one that is met first is told.
        (Err(_), Err(_)) if is_packed => true,
        (Err(error), _) | (_, Err(error)) if is_refused_for_a_row(error) => true,
        _ => whole == pieces,
    };
    assert!(alike, "the sizes of the reads show:\n{whole:?}\nand\n{pieces:?}\nof {}", bytes.escape_ascii());

    let mut as_file = false;
    if is_zip
        && let Ok(outcome) = &whole
        && let Some(text) = only_text(&bytes)
    {
        match read(&text, options, &[usize::MAX]) {
            Ok(plain) => assert_eq!(*outcome, Outcome { rows: None, ..plain }, "of {}", bytes.escape_ascii()),
            Err(error) => assert!(is_refused_for_a_row(&error), "{error}: {text:?}"),
        }
        as_file = true;
    }
    let Ok(outcome) = whole else { return Case { read: false, as_file } };
    let counted = outcome.bars.len() + outcome.rejected.len() + outcome.skipped as usize;
    assert!(outcome.rows.is_none_or(|rows| rows.contains(&counted)), "{counted} rows of {}", bytes.escape_ascii());
    Case { read: true, as_file }
}

/// Returns whether an error refuses a file for a row that costs only itself where rows before it went out, which depends on
/// how much is read at once.
fn is_refused_for_a_row(error: &str) -> bool {
    error.contains(": expected one row of ") || error.contains(": time: expected bars that are ")
}

fn read(bytes: &[u8], options: ReadOptions, sizes: &[usize]) -> Result<Outcome, String> {
    drain(RecordReader::<Bar, _>::new(Pieces { bytes, sizes, reads: 0 }, options), bytes)
}

/// Reads them as a file on a disk, which can be looked into anywhere.
fn read_file(bytes: &[u8], options: ReadOptions) -> Result<Outcome, String> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file.rewind().unwrap();
    drain(RecordReader::<Bar, _>::open(file, options).map_err(|error| error.to_string())?, bytes)
}

/// What another reader of zips finds in one; none if it is not one sound file.
fn only_text(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut archive = ZipArchive::new(Cursor::new(bytes)).ok()?;
    let at = (0..archive.len())
        .filter(|at| archive.by_index_raw(*at).is_ok_and(|file| file.name_raw() == MEMBER.as_bytes()));
    let at: Vec<usize> = at.collect();
    let mut text = Vec::new();
    // It would set aside whatever the zip says; nothing here is larger.
    let read = archive.by_index(*at.first()?).ok()?.take(1 << 24).read_to_end(&mut text);
    (at.len() == 1 && read.is_ok()).then_some(text)
}

fn drain(mut reader: RecordReader<Bar, impl Read>, bytes: &[u8]) -> Result<Outcome, String> {
    let mut all = Outcome { bars: Vec::new(), rejected: Vec::new(), skipped: 0, notes: Vec::new(), rows: None };
    let mut chunk = Chunk::default();
    for _ in 0..MOST_CALLS {
        let more = reader.next_chunk(&mut chunk).map_err(|error| error.to_string())?;
        let rows = chunk.records.len() + chunk.rejected.len() + chunk.skipped as usize;
        assert!(rows <= Chunk::MAX_ROWS, "{rows} rows in a chunk");
        all.bars.extend(chunk.records.drain(..));
        all.rejected.append(&mut chunk.rejected);
        all.skipped += chunk.skipped;
        if !more {
            all.notes = reader.notes();
            let findings = reader.info();
            all.rows = if findings.compression.is_none() { rows_of(bytes, &findings) } else { None };
            return Ok(all);
        }
    }
    panic!("{} bytes take more than {MOST_CALLS} calls", bytes.len());
}

/// Hands out its bytes in pieces of the given sizes, over and over.
struct Pieces<'a> {
    bytes: &'a [u8],
    sizes: &'a [usize],
    reads: usize,
}

impl Read for Pieces<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let size = self.sizes[self.reads % self.sizes.len()].min(buf.len()).min(self.bytes.len());
        self.reads += 1;
        let (piece, rest) = self.bytes.split_at(size);
        buf[..size].copy_from_slice(piece);
        self.bytes = rest;
        Ok(size)
    }
}

/// Nothing is missing: what is proposed then depends on how much has been read, and so it should.
fn options(random: &mut StdRng) -> ReadOptions {
    let timeframe = if random.random() { Timeframe::DAY } else { Timeframe::MINUTE };
    let zone = random.random::<bool>().then(|| "America/New_York".parse().unwrap());
    let ts_format = random.random_bool(0.1).then(|| "%m/%d/%Y".parse().unwrap());
    ReadOptions { symbol: Some("ES".into()), timeframe: Some(timeframe), zone, ts_format, ..ReadOptions::default() }
}

pub fn damaged(files: &[File], random: &mut StdRng) -> Vec<u8> {
    let mut bytes = piece(files, random);
    for _ in 0..random.random_range(0..=16) {
        damage(&mut bytes, files, random);
    }
    bytes
}

/// The beginning of a file, and some lines from its middle.
fn piece(files: &[File], random: &mut StdRng) -> Vec<u8> {
    let File { bytes, ends } = &files[random.random_range(0..files.len())];
    if bytes.len() < 4_096 || ends.is_empty() {
        return bytes.clone();
    }
    // Mostly few, for many cases; sometimes enough to settle the order of day and month, and to fill several chunks.
    let most = if random.random_bool(0.02) { 4_000 } else { 40 };
    let head = random.random_range(0..ends.len().min(3));
    let from = random.random_range(0..ends.len());
    let to = (from + random.random_range(0..most)).min(ends.len() - 1);
    [&bytes[..ends[head]], &bytes[ends[from]..ends[to]]].concat()
}

/// Damages bytes in one place.
pub fn damage(bytes: &mut Vec<u8>, files: &[File], random: &mut StdRng) {
    const WORDS: [&str; 24] = [
        "\"",
        "\"\"",
        ",",
        ";",
        "\t",
        "\n",
        "\r\n",
        "\n\n",
        "\r",
        "\0",
        "{",
        "}",
        "[",
        "]",
        ":",
        "\\",
        "nan",
        "-1",
        "1e999",
        "99999999999999999999",
        "0.1234567891",
        "\u{feff}",
        "\u{2028}",
        "ts",
    ];
    if bytes.is_empty() {
        bytes.extend_from_slice(b",\n");
    }
    let at = random.random_range(0..bytes.len());
    let end = (at + random.random_range(1..=64)).min(bytes.len());
    match random.random_range(0..9) {
        5 if files.is_empty() => bytes.truncate(end),
        0 => bytes[at] ^= 1 << random.random_range(0..8),
        1 => bytes[at] = random.random(),
        2 => drop(bytes.drain(at..end)),
        3 => {
            let copy = bytes[at..end].to_vec();
            bytes.splice(at..at, copy);
        }
        4 => bytes.truncate(at),
        5 => {
            let other = piece(files, random);
            let from = random.random_range(0..=other.len());
            bytes.truncate(at);
            bytes.extend_from_slice(&other[from..]);
        }
        6 => {
            let word = WORDS[random.random_range(0..WORDS.len())].as_bytes();
            bytes.splice(at..at, word.iter().copied());
        }
        7 => {
            let word = WORDS[random.random_range(0..WORDS.len())].as_bytes();
            bytes.splice(at..end, word.iter().copied());
        }
        _ => bytes[at..end].reverse(),
    }
}

impl File {
    fn new(bytes: Vec<u8>) -> Self {
        let ends = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1).collect();
        Self { bytes, ends }
    }
}

fn as_it_is(text: Vec<u8>, _: &mut StdRng) -> Vec<u8> {
    text
}

/// How many rows a text has, counted without any of our own code; none if a line is not a row in this dialect.
fn rows_of(text: &[u8], findings: &FileInfo) -> Option<RangeInclusive<usize>> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.iter().all(u8::is_ascii_whitespace));
    let lines: Vec<_> = lines.map(|line| String::from_utf8_lossy(line).trim().to_lowercase()).collect();
    match findings.dialect {
        Some(Dialect::Csv) if findings.lines_skipped == 0 => {
            // The header once more is no row, nor is a line of tickers below it.
            let is_other = |line: &&String| {
                line.trim_start_matches('\u{feff}') == lines[0]
                    || ["open", "high", "low", "close"].iter().all(|name| line.contains(name))
                    || !line.contains(|char: char| char.is_ascii_digit())
            };
            let rows = lines.len() - 1;
            Some(rows - lines[1..].iter().filter(is_other).count()..=rows)
        }
        Some(Dialect::Ndjson) => Some(lines.len()..=lines.len()),
        _ => None,
    }
}

/// As `gzip` or `zstd` pack it, sometimes in two, with what may stand between and behind, and every second one damaged
/// once more.
pub fn packed(text: Vec<u8>, random: &mut StdRng) -> Vec<u8> {
    type Pack = fn(&[u8]) -> Vec<u8>;
    let gzip: Pack = |text| {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(text).unwrap();
        gzip.finish().unwrap()
    };
    let zstd: Pack = |text| zstd::bulk::compress(text, 1).unwrap();
    // Padding, and a frame to be skipped.
    let ways: [(Pack, &[u8]); 2] = [(gzip, &[0; 40]), (zstd, b"\x5a\x2a\x4d\x18\x02\0\0\0ab")];
    let (pack, filler) = ways[random.random_range(0..2)];
    let middle = if random.random_bool(0.3) { random.random_range(0..=text.len()) } else { text.len() };
    let mut bytes = Vec::new();
    for part in [&text[..middle], &text[middle..]] {
        if bytes.is_empty() || !part.is_empty() {
            bytes.extend(pack(part));
        }
        if random.random_bool(0.2) {
            bytes.extend(filler);
        }
    }
    if random.random() {
        for _ in 0..random.random_range(1..=3) {
            damage(&mut bytes, &[], random);
        }
    }
    bytes
}

const ZIPS: &str = "zip of any make";
const MEMBER: &str = "bars/a.csv";

/// As all sorts of tools zip it, with every second one damaged, half of them only at the end, where the directory is.
fn zipped(text: Vec<u8>, random: &mut StdRng) -> Vec<u8> {
    fn write<W: Write + Seek>(mut zip: ZipWriter<W>, text: &[u8], random: &mut StdRng) -> W {
        let methods = [CompressionMethod::Stored, CompressionMethod::Deflated];
        let mut options = || {
            let method = methods[random.random_range(0..2)];
            SimpleFileOptions::default().compression_method(method).large_file(random.random_bool(0.2))
        };
        let (folder, first, clutter, second) = (options(), options(), options(), options());
        if random.random() {
            zip.add_directory("bars/", folder).unwrap();
        }
        zip.start_file(MEMBER, first).unwrap();
        zip.write_all(text).unwrap();
        if random.random_bool(0.3) {
            zip.start_file("__MACOSX/bars/._a.csv", clutter).unwrap();
            zip.write_all(b"x").unwrap();
        }
        if random.random_bool(0.1) {
            zip.start_file("b.csv", second).unwrap();
            zip.write_all(&text[..text.len() / 2]).unwrap();
        }
        zip.finish().unwrap()
    }

    let mut bytes = if random.random() {
        write(ZipWriter::new(Cursor::new(Vec::new())), &text, random).into_inner()
    } else {
        // As into a pipe: the sizes stand behind the data.
        write(ZipWriter::new_stream(Vec::new()), &text, random).into_inner()
    };
    if random.random() {
        let from = if random.random() { bytes.len().saturating_sub(200) } else { 0 };
        let mut end = bytes.split_off(from);
        for _ in 0..random.random_range(1..=3) {
            damage(&mut end, &[], random);
        }
        bytes.append(&mut end);
    }
    bytes
}

/// The files in tests/data and examples/data that end so, and these texts.
pub fn texts(endings: &[&str], texts: &[&str]) -> Vec<File> {
    let mut files: Vec<File> = texts.iter().map(|text| File::new(text.as_bytes().to_vec())).collect();
    for directory in ["tests/data", "examples/data"] {
        collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join(directory), endings, &mut files);
    }
    files
}

pub fn collect(directory: &Path, endings: &[&str], files: &mut Vec<File>) {
    let mut paths: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    // In order, so that a seed means the same everywhere.
    paths.sort();
    for path in paths {
        if path.is_dir() {
            collect(&path, endings, files);
        } else if endings.iter().any(|ending| path.to_string_lossy().ends_with(ending)) {
            files.push(File::new(fs::read(path).unwrap()));
        }
    }
}

pub fn number(name: &str) -> Option<f64> {
    let text = env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}: expected a number, got `{text}`")))
}

/// Ends the process when a case goes on without end or takes all memory, since nothing else could: with the seed, which
/// would be lost.
pub struct Watch {
    name: &'static str,
    seed: Arc<AtomicU64>,
    cases: Arc<AtomicU64>,
    done: Arc<AtomicBool>,
}

impl Watch {
    pub fn start(name: &'static str) -> Self {
        let watch = Self { name, seed: Arc::default(), cases: Arc::default(), done: Arc::default() };
        let (seed, cases, done) = (Arc::clone(&watch.seed), Arc::clone(&watch.cases), Arc::clone(&watch.done));
        thread::spawn(move || {
            let (mut seen, mut since) = (0, Instant::now());
            while !done.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(100));
                check_memory(name, &seed);
                let now = cases.load(Ordering::Relaxed);
                if now != seen {
                    (seen, since) = (now, Instant::now());
                } else if since.elapsed() > HANGS_AFTER {
                    let seed = seed.load(Ordering::Relaxed);
                    let _ = writeln!(io::stderr(), "{name}: hangs, run again with MDS_TEST_FUZZ_SEED={seed}");
                    std::process::exit(101);
                }
            }
        });
        watch
    }

    pub fn check_memory(&self) {
        check_memory(self.name, &self.seed);
    }

    pub fn case(&self, seed: u64) {
        self.seed.store(seed, Ordering::Relaxed);
        self.cases.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
    }
}

/// Looks at the most that there ever was, so that what is given back at once shows too.
fn check_memory(name: &str, seed: &AtomicU64) {
    // Only Linux tells.
    let Ok(status) = fs::read_to_string("/proc/self/status") else { return };
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok());
    if peak.is_some_and(|peak: u64| peak > MOST_MEMORY_KB) {
        let seed = seed.load(Ordering::Relaxed);
        let _ = writeln!(
            io::stderr(),
            "{name}: takes {peak:?} kB, run again with MDS_TEST_FUZZ_SEED={seed} or one a little smaller"
        );
        std::process::exit(101);
    }
}
