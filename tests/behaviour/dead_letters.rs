//! Dead-letter files through the public face: damage, replays that are cut off, and several at work at once.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use futures::executor::block_on;
use market_data_store::{
    Batch, Coordinator, DeadLetter, DeadLetters, Invalid, Level, MarketDataStore, Record, Settings, Sink, SinkError,
    WriteHandle,
    dead_letter::{self, DeadLettersError, Entry, ReplayOptions, ReplayReport, Selection},
    settings::CoordinatorSettings,
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use crate::support::{PATIENCE, coordinator_settings, size_of_test, within};

/// A record whose JSON looks much like an entry's own, and whose every bit counts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Note {
    id: String,
    text: String,
}

impl Record for Note {
    const KIND: &'static str = "notes";

    fn partition_key(&self) -> &str {
        &self.id
    }

    fn validate(&mut self) -> Result<(), Invalid> {
        if self.text == INVALID { Err(Invalid::new("text", "not like this")) } else { Ok(()) }
    }
}

/// The text of a note that is not valid.
const INVALID: &str = "invalid";

fn note(n: usize) -> Note {
    Note { id: format!("n{n}"), text: format!("{{\"id\":\"{n}\",\"crc\":\"{n:08x}\"}}\nJJ**ää") }
}

fn letters(numbers: impl IntoIterator<Item = usize>) -> Vec<DeadLetter> {
    numbers.into_iter().map(|n| DeadLetter::new(&note(n), format!("refused {n}"), 1)).collect()
}

/// Appends notes and lets go of the file.
fn keep(dir: &Path, numbers: impl IntoIterator<Item = usize>) {
    let dead_letters = DeadLetters::open(dir).unwrap();
    dead_letters.append_blocking("notes", "notes", &letters(numbers)).unwrap();
    block_on(dead_letters.release());
}

fn entries(dir: &Path) -> Vec<Entry> {
    dead_letter::list(dir).unwrap().map(|found| found.unwrap().entry.unwrap()).collect()
}

fn note_of(entry: &Entry) -> Note {
    serde_json::from_str(entry.record.get()).unwrap()
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "ndjson"));
    files.sort();
    files
}

/// What a store does with a record.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Will {
    Store,
    Refuse,
    /// The write never returns.
    Hang,
}

/// A sink that does what its test says, and what came of it.
struct Scripted<F> {
    will: F,
    stored: Mutex<Vec<Note>>,
    hanging: AtomicUsize,
}

impl<F: Fn(&Note) -> Will + Send + Sync + 'static> Sink<Note> for Scripted<F> {
    async fn write(&self, batch: &Batch<Note>) -> Result<(), SinkError> {
        // One record a batch.
        for note in batch {
            match (self.will)(note) {
                Will::Store => self.stored.lock().unwrap().push(note.clone()),
                Will::Refuse => return Err(SinkError::permanent("refused again")),
                Will::Hang => {
                    self.hanging.fetch_add(1, Ordering::SeqCst);
                    std::future::pending::<()>().await;
                }
            }
        }
        Ok(())
    }
}

/// A store with its dead letters in a directory, whose one worker writes record by record, so that what is stored keeps
/// the order in which it was replayed.
struct Target<F> {
    store: MarketDataStore,
    handle: WriteHandle<Note>,
    sink: Arc<Scripted<F>>,
}

impl<F: Fn(&Note) -> Will + Send + Sync + 'static> Target<F> {
    fn new(dir: &Path, will: F) -> Self {
        Self::with(dir, coordinator_settings(20_000, 1, 1), will)
    }

    fn with(dir: &Path, own: CoordinatorSettings, will: F) -> Self {
        let sink = Arc::new(Scripted { will, stored: Mutex::default(), hanging: AtomicUsize::new(0) });
        let mut settings = Settings::default();
        settings.dlq_path = dir.to_owned();
        settings.feedback.enabled = false;
        let coordinator = Coordinator::new(Arc::clone(&sink)).settings(own);
        let store = MarketDataStore::builder(settings).coordinator(coordinator).spawn().unwrap();
        let handle = store.coordinator().unwrap();
        Self { store, handle, sink }
    }

    fn replay(&self) -> ReplayReport {
        self.replay_with(&ReplayOptions::default())
    }

    fn replay_with(&self, options: &ReplayOptions) -> ReplayReport {
        block_on(within(PATIENCE, self.store.replay(&self.handle, options))).unwrap()
    }

    /// Returns what was stored since the last call, in order.
    fn stored(&self) -> Vec<Note> {
        std::mem::take(&mut *self.sink.stored.lock().unwrap())
    }
}

impl<F> Drop for Target<F> {
    fn drop(&mut self) {
        block_on(self.store.shutdown(Duration::ZERO));
    }
}

/// A store that takes every record.
fn takes_all(dir: &Path) -> Target<impl Fn(&Note) -> Will + Send + Sync + 'static> {
    Target::new(dir, |_| Will::Store)
}

fn at_most(limit: usize) -> ReplayOptions {
    ReplayOptions::default().selection(Selection::default().limit(limit))
}

/// One thing that happened to a file.
fn damage(bytes: &mut Vec<u8>, random: &mut StdRng) -> &'static str {
    match random.random_range(0..4) {
        0 => {
            bytes.truncate(random.random_range(0..bytes.len()));
            "truncated"
        }
        1 => {
            let from = random.random_range(0..bytes.len());
            let to = random.random_range(from + 1..=bytes.len().min(from + 600));
            bytes.drain(from..to);
            "cut in the middle"
        }
        _ => {
            let bit = random.random_range(0..bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            "a bit flipped"
        }
    }
}

/// The lines of a file of entries, without their line ends, as they were written and as a hand would mend them: the
/// checksum taken off.
struct Written {
    sealed: Vec<Vec<u8>>,
    mended: Vec<Vec<u8>>,
}

impl Written {
    fn new(good: &[u8]) -> Self {
        let seal = br#","crc":"12345678"}"#.len();
        let lines = good.split_inclusive(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\n").unwrap());
        let sealed: Vec<_> = lines.map(<[u8]>::to_vec).collect();
        let mended = sealed.iter().map(|line| [&line[..line.len() - seal], b"}"].concat()).collect();
        Self { sealed, mended }
    }

    /// Returns which of the lines are whole in damaged bytes, in their order, and the lines as they are counted there
    /// that have something else in them, once for each such place. By the bytes alone:
    ///
    /// - A line that was hit is damaged in its place. A hit that makes a line end of another byte makes two of it, and
    ///   one is counted more from there on; a line end that was hit makes one of two, and one is counted less.
    /// - A line end that became another byte, between two whole lines or at the end of the file, is no damage: nothing
    ///   is missing. Nor is one that is gone.
    /// - What is gone with its line end, of whole lines, leaves nothing that could be named.
    /// - The beginning of a line at the end of the file, without its line end, was never acknowledged, and is no
    ///   damage.
    fn in_damaged(&self, bytes: &[u8]) -> (Vec<usize>, Vec<u64>) {
        let (mut whole, mut damaged) = (Vec::new(), Vec::new());
        for (number, line) in (1..).zip(bytes.split_inclusive(|byte| *byte == b'\n')) {
            let (line, ended) = line.strip_suffix(b"\n").map_or((line, false), |line| (line, true));
            if let Some(n) = self.mended.iter().position(|mended| mended == line) {
                whole.push(n);
                continue;
            }
            let places = self.sealed.iter().enumerate().filter_map(|(n, sealed)| {
                Some((line.windows(sealed.len()).position(|window| window == sealed)?, sealed.len(), n))
            });
            let places: BTreeSet<_> = places.collect();
            let mut done = 0;
            for &(start, len, n) in &places {
                // One byte behind a whole line is what was its line end.
                damaged.extend((start > done + usize::from(done > 0)).then_some(number));
                whole.push(n);
                done = start + len;
            }
            let was_line_end = done > 0 && !ended && line.len() == done + 1;
            let rest = &line[done..];
            // The first bytes of every line.
            let begins = |begin: &[u8]| rest.starts_with(begin) || begin.starts_with(rest);
            // A brace at its end can be that of the record.
            let json = serde_json::from_slice::<serde::de::IgnoredAny>(rest);
            let was_never_whole = !ended && begins(br#"{"id":""#) && json.is_err_and(|error| error.is_eof());
            damaged.extend((line.len() > done && !was_line_end && !was_never_whole).then_some(number));
        }
        (whole, damaged)
    }
}

// Sabotage: no checksum (a flipped digit is stored), no search beside a damage (a neighbour is missing), damage that is
// passed over in silence, or one that is named in another line than its own, be it only behind a line end that was hit:
// red.
#[test]
fn what_is_damaged_is_named_by_its_line_and_its_neighbours_are_replayed() {
    const ENTRIES: usize = 12;
    let dir = tempfile::tempdir().unwrap();
    keep(dir.path(), 0..ENTRIES);
    let path = files(dir.path()).remove(0);
    let good = fs::read(&path).unwrap();
    let written = Written::new(&good);
    assert_eq!(written.sealed.len(), ENTRIES);
    // Behind so many lines.
    let behind = |lines: usize| written.sealed[..lines].iter().map(|line| line.len() + 1).sum::<usize>();

    let seed: u64 = rand::random();
    let mut random = StdRng::seed_from_u64(seed);
    let target = takes_all(dir.path());
    let (mut named, mut rounds, mut silent) = (0, 0, 0);
    for round in 0..size_of_test("MDS_TEST_DAMAGES", 1_000) {
        let mut bytes = good.clone();
        let what = match round {
            // Chance takes just a checksum, or one and all up to the same place of the next line, once in 100,000
            // times.
            0 | 1 => {
                let end = |n: usize| behind(n + 1) - b"}\n".len();
                bytes.drain(end(2) - br#","crc":"12345678""#.len()..end(2 + round));
                "a checksum cut out"
            }
            // At a line's end, with and without it.
            2 | 3 => {
                bytes.truncate(behind(7) + 2 - round);
                "truncated at a line's end"
            }
            4 => {
                bytes[behind(3) - 1] = b'K';
                bytes[behind(6) + 40] ^= 1;
                "a bit flipped behind a line end that was hit"
            }
            5 => {
                let star = bytes[behind(3)..].iter().position(|byte| *byte == b'*').unwrap();
                bytes[behind(3) + star] = b'\n';
                bytes[behind(6) + 40] ^= 1;
                "a bit flipped behind a line of which a hit made two"
            }
            _ if round % 2 == 0 => {
                let end = behind(random.random_range(1..=ENTRIES)) - 1;
                bytes[end] ^= 1 << random.random_range(0..8);
                damage(&mut bytes, &mut random)
            }
            _ => damage(&mut bytes, &mut random),
        };
        let context = format!("seed {seed}, round {round}, {what}");
        fs::write(&path, &bytes).unwrap();
        let (whole, damaged) = written.in_damaged(&bytes);
        match round {
            0 => assert_eq!((whole.len(), &*damaged), (ENTRIES, &[][..]), "{context}: as if mended by hand"),
            1 => assert_eq!((whole.len(), &*damaged), (ENTRIES - 1, &[][..]), "{context}"),
            2 | 3 => assert_eq!((whole.len(), &*damaged), (7, &[][..]), "{context}"),
            4 => {
                assert_eq!((whole.len(), &*damaged), (ENTRIES - 1, &[6][..]), "{context}: the seventh is the sixth")
            }
            5 => assert_eq!((whole.len(), &*damaged), (ENTRIES - 2, &[4, 5, 8][..]), "{context}"),
            _ => {}
        }

        let report = target.replay();
        assert_eq!(target.stored(), whole.iter().copied().map(note).collect::<Vec<_>>(), "{context}");
        let lines: Vec<u64> = report.damaged.iter().map(|damaged| damaged.line).collect();
        assert_eq!(lines, damaged, "{context}: {report:?}");
        assert!(report.damaged.iter().all(|damaged| damaged.file.ends_with(path.file_name().unwrap())));
        assert_eq!(path.exists(), !damaged.is_empty(), "{context}: what is damaged stays");
        named += damaged.len();
        rounds += 1;
        // A cut at the end of a line takes whole lines with it. Nothing that is left could tell, and no one is told.
        silent += usize::from(damaged.is_empty() && whole.len() < ENTRIES);
        let _ = fs::remove_file(path.with_extension("settled"));
    }
    println!("{named} places in {rounds} rounds; {silent} cuts that no one can see");
    assert!(named > rounds / 2 && silent >= 3);
}

// Sabotage: take for torn whatever is no JSON: the line that a hand has written last is gone without a word.
#[test]
fn a_last_line_with_a_slip_of_the_hand_is_damage_and_stays() {
    let dir = tempfile::tempdir().unwrap();
    keep(dir.path(), 0..2);
    let path = files(dir.path()).remove(0);
    let text = fs::read_to_string(&path).unwrap();
    let (first, second) = text.trim_end().split_once('\n').unwrap();
    let without_crc = format!("{}}}", second.rsplit_once(",\"crc\"").unwrap().0);
    fs::write(&path, format!("{first}\n{}", without_crc.replacen(':', ":,", 1))).unwrap();
    let report = takes_all(dir.path()).replay();
    assert_eq!((report.stored, report.damaged.len()), (1, 1), "{report:?}");
    assert!(fs::read_to_string(&path).unwrap().ends_with('}'), "it is still there");
}

// Sabotage: call what breaks off damage (the replay is not complete, and the file stays), cut off what is whole, or
// leave the half line where it is: red.
#[test]
fn a_last_line_that_was_never_acknowledged_is_no_damage_and_the_next_replay_cuts_it_off() {
    for together in [1, 3] {
        let dir = tempfile::tempdir().unwrap();
        let before = DeadLetters::open(dir.path()).unwrap();
        before.append_blocking("notes", "notes", &letters(0..2)).unwrap();
        before.append_blocking("notes", "notes", &letters(2..2 + together)).unwrap();
        block_on(before.release());
        let path = files(dir.path()).remove(0);
        let good = fs::read(&path).unwrap();
        let ends: Vec<_> = (0..good.len()).filter(|&at| good[at] == b'\n').collect();
        assert_eq!(ends.len(), 2 + together);
        let target = takes_all(dir.path());
        // From right behind what was acknowledged before.
        for cut in ends[1] + 1..=good.len() {
            // A line is whole without its line end.
            let whole: Vec<_> = (0..ends.iter().filter(|end| **end <= cut).count()).map(note).collect();
            // A loss of power can leave zeros, where the file had grown and its blocks were not written; they are never
            // in the place of a line end alone.
            for zeros in if ends.contains(&cut) { &[0][..] } else { &[0, 5] } {
                let context = format!("{together} together, cut at {cut}, {zeros} zeros");
                fs::write(&path, [&good[..cut], &vec![0; *zeros]].concat()).unwrap();
                let listed: Vec<_> = entries(dir.path()).iter().map(note_of).collect();
                assert_eq!(listed, whole, "{context}");
                // A replay waits for the disk, so not everywhere.
                if (cut + zeros) % 20 == 0 || ends.iter().any(|end| cut.abs_diff(*end) < 2) {
                    let report = target.replay();
                    assert!(report.is_complete(), "{context}: {report:?}");
                    assert_eq!(target.stored(), whole, "{context}");
                    assert!(files(dir.path()).is_empty(), "{context}");
                }
            }
        }
    }

    // A file that stays is as if the half line had never been begun.
    let dir = tempfile::tempdir().unwrap();
    keep(dir.path(), 0..2);
    let path = files(dir.path()).remove(0);
    let good = fs::read(&path).unwrap();
    fs::write(&path, [&good[..], &good[..100]].concat()).unwrap();
    assert_eq!(entries(dir.path()).len(), 2);
    assert_eq!(fs::read(&path).unwrap().len(), good.len() + 100, "reading changes nothing");
    let refuses = Target::new(dir.path(), |_: &Note| Will::Refuse);
    assert_eq!(refuses.replay().dead_lettered, 2);
    assert_eq!(fs::read(&path).unwrap(), good);

    // A flipped bit in the middle of the last line is damage, though its line end is gone too.
    let mut flipped = good.clone();
    flipped[good.len() - 60] ^= 1;
    for bytes in [&flipped[..], &flipped[..good.len() - 1]] {
        fs::write(&path, bytes).unwrap();
        let found: Vec<_> = dead_letter::list(dir.path()).unwrap().map(|found| found.unwrap().entry.is_ok()).collect();
        assert_eq!(found, [true, false]);
    }
}

// Sabotage: call it damage, or cut it off as what breaks off: the mended record is never replayed.
#[test]
fn a_mended_last_line_needs_no_line_end() {
    let dir = tempfile::tempdir().unwrap();
    keep(dir.path(), 0..2);
    let path = files(dir.path()).remove(0);
    let text = fs::read_to_string(&path).unwrap();
    let (mended, _) = text.trim_end().rsplit_once(",\"crc\"").unwrap();
    fs::write(&path, format!("{mended}}}")).unwrap();
    let target = takes_all(dir.path());
    assert!(target.replay().is_complete());
    assert_eq!(target.stored(), [note(0), note(1)]);
}

// Sabotage: trust a journal's line without its checksum: an entry that was never stored is settled.
#[test]
fn a_damaged_journal_settles_nothing_that_was_not_settled() {
    const ENTRIES: usize = 40;
    let dir = tempfile::tempdir().unwrap();
    keep(dir.path(), 0..ENTRIES);
    let path = files(dir.path()).remove(0);
    let journal = path.with_extension("settled");
    let good = fs::read(&path).unwrap();
    let target = takes_all(dir.path());
    assert_eq!((target.replay_with(&at_most(10)).stored, target.stored().len()), (10, 10));
    let settled = fs::read(&journal).unwrap();

    // One bit, and the line of the tenth entry names the thirtieth.
    let text = String::from_utf8(settled.clone()).unwrap();
    assert_eq!(text.matches("-10\"").count(), 1, "{text}");
    fs::write(&journal, text.replace("-10\"", "-30\"")).unwrap();
    target.replay();
    assert_eq!(target.stored(), (9..ENTRIES).map(note).collect::<Vec<_>>());

    let seed: u64 = rand::random();
    let mut random = StdRng::seed_from_u64(seed);
    for round in 0..size_of_test("MDS_TEST_DAMAGES", 1_000) / 3 {
        let mut bytes = settled.clone();
        let what = damage(&mut bytes, &mut random);
        fs::write(&path, &good).unwrap();
        fs::write(&journal, &bytes).unwrap();
        target.replay();
        let stored: BTreeSet<Note> = target.stored().into_iter().collect();
        let missing: Vec<_> = (10..ENTRIES).map(note).filter(|note| !stored.contains(note)).collect();
        assert_eq!(missing, [], "seed {seed}, round {round}, {what}");
        assert!(!path.exists() && !journal.exists());
    }
}

// Sabotage: settle an entry that is not known to be stored, or leave the file, or what a kill left of a journal: red.
#[test]
fn an_entry_goes_only_when_it_is_stored_and_the_file_with_the_last() {
    let dir = tempfile::tempdir().unwrap();
    let invalid = Note { id: "n3".to_owned(), text: INVALID.to_owned() };
    let notes = (0..6).map(|n| if n == 3 { invalid.clone() } else { note(n) });
    let letters: Vec<_> = notes.map(|note| DeadLetter::new(&note, "refused", 1)).collect();
    let before = DeadLetters::open(dir.path()).unwrap();
    before.append_blocking("notes", "notes", &letters).unwrap();
    block_on(before.release());
    let half_made = dir.path().join("20240102T143000-000000-0123abcd.settling");
    fs::write(half_made, br#"{"id":"c4b71af0afbc85ae-1","outc"#).unwrap();

    // It stores the first, never answers for the second, and never comes to the others.
    let target = Target::new(dir.path(), |note| if note.id == "n1" { Will::Hang } else { Will::Store });
    let report = thread::scope(|scope| {
        let replay = scope.spawn(|| target.replay());
        while target.sink.hanging.load(Ordering::SeqCst) == 0 || block_on(target.handle.health()).submitted < 5 {
            thread::yield_now();
        }
        block_on(within(PATIENCE, target.store.shutdown(Duration::ZERO)));
        replay.join().unwrap()
    });
    assert_eq!((report.stored, report.unknown, report.damaged.len()), (1, 4, 1));
    assert_eq!((report.damaged[0].line, &*report.damaged[0].message), (4, "text: not like this"));
    let left: Vec<String> = entries(dir.path()).iter().map(|entry| note_of(entry).id).collect();
    assert_eq!(left, ["n1", "n2", "n3", "n4", "n5"]);

    let rest = takes_all(dir.path());
    let report = rest.replay();
    assert_eq!((report.stored, report.damaged.len(), report.is_complete()), (4, 1, false));
    assert_eq!(rest.stored(), [1, 2, 4, 5].map(note));
    // Mended, it is replayed, and the file goes.
    let path = files(dir.path()).remove(0);
    let text = fs::read_to_string(&path).unwrap();
    let line = text.lines().nth(3).unwrap();
    let mended = format!("{}}}\n", line[..line.find(",\"crc\"").unwrap()].replace(INVALID, "valid"));
    fs::write(&path, mended).unwrap();
    assert!(rest.replay().is_complete());
    assert_eq!(rest.stored(), [Note { text: "valid".to_owned(), ..invalid }]);
    assert!(files(dir.path()).is_empty() && entries(dir.path()).is_empty());
    let names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["replay.lock"], "and its journal is gone too");
}

// Sabotage: make a new entry of it, settle it, forget the count, or keep what the store said first: red.
#[test]
fn what_is_refused_again_stays_where_it_is_and_counts_one_replay_more() {
    let dir = tempfile::tempdir().unwrap();
    keep(dir.path(), 0..3);
    let before = entries(dir.path());
    let place = dir.path().to_owned();
    let target = Target::new(dir.path(), move |note: &Note| {
        // A panic is a failed write, so it would show as another error.
        assert!(entries(&place).iter().any(|entry| note_of(entry) == *note), "it must be somewhere");
        if note.id == "n1" { Will::Refuse } else { Will::Store }
    });
    for replays in 1..=5 {
        let report = target.replay();
        assert_eq!((report.dead_lettered, report.is_complete()), (1, false));
        let after = entries(dir.path());
        assert_eq!(after.len(), 1);
        assert_eq!((note_of(&after[0]), after[0].replay_count, after[0].attempts), (note(1), replays, 1));
        assert_eq!(
            (&*after[0].id, &*after[0].error),
            (&*before[1].id, "permanent failure of the store: refused again")
        );
        let journal = fs::read_to_string(files(dir.path())[0].with_extension("settled")).unwrap();
        assert!(journal.lines().count() <= 4, "it grows with each replay: {journal}");
    }
    let target = takes_all(dir.path());
    let report = target.replay();
    assert_eq!((report.exhausted, report.stored, target.stored().len()), (1, 0, 0));
    assert!(target.replay_with(&ReplayOptions::default().max_replays(6)).is_complete());
}

// Sabotage: leave it to a file that is gone: the records are nowhere, though each was called dead-lettered.
#[cfg(unix)]
#[test]
fn what_is_refused_again_is_kept_though_its_file_is_removed_meanwhile() {
    let dir = tempfile::tempdir().unwrap();
    keep(dir.path(), 0..4);
    let path = files(dir.path()).remove(0);
    let target = Target::new(dir.path(), move |note: &Note| {
        if note.id == "n3" {
            fs::remove_file(&path).unwrap();
        }
        if note.id == "n0" { Will::Store } else { Will::Refuse }
    });
    let report = target.replay();
    assert_eq!((report.stored, report.dead_lettered, report.unknown), (1, 3, 0));
    let left: Vec<_> = entries(dir.path()).iter().map(|entry| (note_of(entry), entry.replay_count)).collect();
    assert_eq!(left, (1..4).map(|n| (note(n), 1)).collect::<Vec<_>>());
}

// Sabotage: take a letter of a record that looks like one that is replayed for the same: it is nowhere, or behind a
// later update of its key.
#[test]
fn a_letter_that_looks_like_an_entry_being_replayed_is_an_entry_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    keep(dir.path(), 0..2);
    let producer = DeadLetters::open(dir.path()).unwrap();
    let target = Target::new(dir.path(), move |note: &Note| {
        let letter = DeadLetter::new(note, "of another", 3);
        block_on(producer.append("archive", "notes", &[letter])).unwrap();
        if note.id == "n0" { Will::Store } else { Will::Refuse }
    });
    let report = target.replay();
    assert_eq!((report.stored, report.dead_lettered), (1, 1));
    let left = entries(dir.path());
    let left: Vec<_> = left.iter().map(|entry| (&*entry.coordinator_id, note_of(entry))).collect();
    assert_eq!(left, [("notes", note(1)), ("archive", note(0)), ("archive", note(1))]);
}

// Sabotage: name an entry by its id alone: what was refused, or never written, goes with the other.
#[test]
fn entries_that_were_copied_by_hand_go_each_by_itself() {
    for refused in ["first", "second", "none"] {
        let dir = tempfile::tempdir().unwrap();
        let entry = |text: &str| Note { id: "a".to_owned(), text: text.to_owned() };
        let dead_letters = DeadLetters::open(dir.path()).unwrap();
        dead_letters.append_blocking("notes", "notes", &[DeadLetter::new(&entry("first"), "refused", 1)]).unwrap();
        block_on(dead_letters.release());
        let path = files(dir.path()).remove(0);
        let line = fs::read_to_string(&path).unwrap();
        let bare = format!("{}}}\n", &line[..line.find(",\"crc\"").unwrap()]);
        fs::write(&path, bare.clone() + &bare.replace("first", "second")).unwrap();
        let target =
            Target::new(dir.path(), move |note: &Note| if note.text == refused { Will::Refuse } else { Will::Store });
        target.replay_with(&at_most(if refused == "none" { 1 } else { 2 }));
        let left: Vec<_> = entries(dir.path()).iter().map(note_of).collect();
        assert_eq!(left, [entry(if refused == "first" { "first" } else { "second" })], "{refused} was refused");
    }
}

// Sabotage: make a new entry of what is refused again: it is stored over the later update.
#[test]
fn updates_of_a_key_stay_in_order_over_several_replays() {
    let dir = tempfile::tempdir().unwrap();
    let update = |text: &str| Note { id: "key".to_owned(), text: text.to_owned() };
    let dead_letters = DeadLetters::open(dir.path()).unwrap();
    for text in ["older", "newer"] {
        dead_letters.append_blocking("notes", "notes", &[DeadLetter::new(&update(text), "refused", 1)]).unwrap();
    }
    block_on(dead_letters.release());
    let refuses = Target::new(dir.path(), |_: &Note| Will::Refuse);
    assert_eq!(refuses.replay_with(&at_most(1)).dead_lettered, 1);
    let stores = takes_all(dir.path());
    assert!(stores.replay().is_complete());
    assert_eq!(stores.stored(), [update("older"), update("newer")]);
}

// Sabotage: remove what is at the path: what was mended meanwhile is never replayed. Remove its journal, or mark
// nothing: what was purged comes back.
#[cfg(unix)]
#[test]
fn of_a_file_that_an_editor_saved_during_a_replay_only_what_was_mended_is_replayed_the_next_time() {
    let dir = tempfile::tempdir().unwrap();
    keep(dir.path(), 0..4);
    assert_eq!(dead_letter::purge(dir.path(), &Selection::default().limit(1), false).unwrap().purged, 1);
    let path = files(dir.path()).remove(0);
    let saved = path.clone();
    let target = Target::new(dir.path(), move |note: &Note| {
        if note.id == "n2" {
            let lines = fs::read_to_string(&saved).unwrap();
            let bare = |line: &str| format!("{}}}\n", &line[..line.find(",\"crc\"").unwrap()]);
            let lines: String = lines.lines().map(bare).collect();
            let copy = saved.with_extension("tmp");
            fs::write(&copy, lines.replace("\"id\":\"n2\"", "\"id\": \"mended\"").replace("\"n3\",", "\"n3\" ,"))
                .unwrap();
            fs::rename(copy, &saved).unwrap();
        }
        Will::Store
    });
    let report = target.replay();
    assert_eq!((report.stored, &report.live), (3, &vec![path]));
    assert!(!report.is_complete());

    let again = takes_all(dir.path());
    assert!(again.replay().is_complete());
    assert_eq!(again.stored(), [Note { id: "mended".to_owned(), ..note(2) }]);
    assert!(files(dir.path()).is_empty());
}

/// Waits until something is so.
fn wait_until(mut is_so: impl FnMut() -> bool) {
    let begun = std::time::Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "it never came to it");
        thread::yield_now();
    }
}

// Sabotage: write whatever the level is: the store gets replayed records in the middle of the producer's. Look at the
// level once and never again: it does not come to its end.
#[test]
fn a_replay_pauses_while_a_producer_holds_the_level_up_and_goes_on_at_ok() {
    /// More than are under way at once.
    const ENTRIES: usize = 3_000;
    /// They are written for longer than a sync of the journal takes.
    const BESIDE: usize = 10_000;
    let dir = tempfile::tempdir().unwrap();
    keep(dir.path(), 0..ENTRIES);
    let written = Arc::new(Mutex::new(Vec::new()));
    let producer = Arc::new(Mutex::new(None::<WriteHandle<Note>>));
    let is_beside = |id: &str| id[1..].parse::<usize>().unwrap() >= ENTRIES;
    let mut own = coordinator_settings(20_000, 1, 1);
    (own.low_watermark, own.high_watermark) = (Some(10), Some(20));
    let target = Target::with(dir.path(), own, {
        let (written, producer, beside) = (Arc::clone(&written), Arc::clone(&producer), AtomicUsize::new(0));
        move |replayed: &Note| {
            written.lock().unwrap().push(replayed.id.clone());
            let producer = producer.lock().unwrap().clone().unwrap();
            let submit = || {
                let n = beside.fetch_add(1, Ordering::SeqCst);
                if n < BESIDE {
                    producer.try_submit(note(ENTRIES + n)).unwrap();
                }
            };
            if replayed.id == "n0" {
                // From the first replayed record on a producer holds the level up, with one more for each that is
                // written.
                (0..40).for_each(|_| submit());
                wait_until(|| producer.level() != Level::Ok);
            } else if is_beside(&replayed.id) {
                submit();
            }
            Will::Store
        }
    });
    *producer.lock().unwrap() = Some(target.handle.clone());
    assert!(target.replay().is_complete());
    block_on(within(PATIENCE, target.handle.flush())).unwrap();
    producer.lock().unwrap().take();
    let written = written.lock().unwrap();
    assert_eq!(written.len(), ENTRIES + BESIDE);
    // What was accepted before the level was up stands before or among the producer's first; then the replay pauses.
    let last_beside = written.iter().rposition(|id| is_beside(id)).unwrap();
    let replayed_before = written[..last_beside].iter().filter(|id| !is_beside(id)).count();
    assert!(replayed_before <= 1_001, "{replayed_before} were replayed before the level was ok again");
    assert_eq!(written[last_beside..].iter().filter(|id| !is_beside(id)).count(), ENTRIES - replayed_before);
}

// Red when a replay waits for a coordinator that none of its entries goes to: with that one's store away it would hang.
#[test]
fn a_replay_does_not_wait_for_a_coordinator_that_gets_none_of_it() {
    let dir = tempfile::tempdir().unwrap();
    keep(dir.path(), 0..3);
    let coordinator = |will| {
        let sink = Scripted { will: move |_: &Note| will, stored: Mutex::default(), hanging: AtomicUsize::new(0) };
        Coordinator::new(sink).settings(coordinator_settings(20_000, 1, 1))
    };
    let mut settings = Settings::default();
    settings.dlq_path = dir.path().to_owned();
    settings.feedback.enabled = false;
    let builder = MarketDataStore::builder(settings).coordinator(coordinator(Will::Store));
    let store = builder.coordinator(coordinator(Will::Hang).id("away")).spawn().unwrap();
    block_on(store.coordinator_named::<Note>("away").unwrap().submit(note(9))).unwrap();
    let report = block_on(within(PATIENCE, store.replay_all(&ReplayOptions::default()))).unwrap();
    assert_eq!((report.stored, report.is_complete()), (3, true));
    block_on(store.shutdown(Duration::ZERO));
}

// Sabotage: leave `stop` unheard, or return before what is under way is marked: red.
#[test]
fn a_replay_that_is_asked_to_stop_settles_what_is_under_way_and_reports_it() {
    let dir = tempfile::tempdir().unwrap();
    keep(dir.path(), 0..5_000);
    let (stop, stopped) = futures::channel::oneshot::channel::<()>();
    let stop = Mutex::new(Some(stop));
    let target = Target::new(dir.path(), move |_: &Note| {
        // With the first record the replay is asked to stop; the others under way are stored all the same.
        if let Some(stop) = stop.lock().unwrap().take() {
            stop.send(()).unwrap();
        }
        Will::Store
    });
    let options = ReplayOptions::default();
    let stopped = async { stopped.await.unwrap() };
    let report = block_on(within(PATIENCE, target.store.replay_until(&target.handle, &options, stopped))).unwrap();
    assert_eq!(report.interrupted.as_deref(), Some("it was asked to stop"));
    let stored = target.stored();
    assert_eq!((report.stored, report.unknown), (stored.len() as u64, 0));
    assert!((1..5_000).contains(&stored.len()), "{}", stored.len());
    let left: Vec<_> = entries(dir.path()).iter().map(note_of).collect();
    assert_eq!(left, (stored.len()..5_000).map(note).collect::<Vec<_>>());
}

// Sabotage: go on without the future: all are stored, and the directory stays locked until they are.
#[test]
fn a_replay_whose_future_is_dropped_stops() {
    let dir = tempfile::tempdir().unwrap();
    keep(dir.path(), 0..5_000);
    let (begun, has_begun) = futures::channel::oneshot::channel::<()>();
    let begun = Mutex::new(Some(begun));
    let target = Target::new(dir.path(), move |_: &Note| {
        begun.lock().unwrap().take().map(|begun| begun.send(()));
        Will::Store
    });
    let options = ReplayOptions::default();
    let replay = Box::pin(target.store.replay(&target.handle, &options));
    let dropped = block_on(within(PATIENCE, futures::future::select(replay, has_begun)));
    assert!(matches!(&dropped, futures::future::Either::Right((Ok(()), _))));
    drop(dropped);
    // The directory is locked until what was under way is marked.
    let mut purged = 0;
    wait_until(|| match dead_letter::purge(dir.path(), &Selection::default(), false) {
        Ok(report) => {
            purged = report.purged as usize;
            true
        }
        Err(DeadLettersError::Busy(_)) => false,
        Err(error) => panic!("{error}"),
    });
    let stored = target.stored().len();
    assert!((1..5_000).contains(&stored), "{stored}");
    assert_eq!(purged, 5_000 - stored, "what was stored is settled");
}

// Sabotage: leave out the lock of the directory: the second one replays too.
#[test]
fn a_second_replay_or_a_purge_at_the_same_time_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    keep(dir.path(), 0..2);
    let place = dir.path().to_owned();
    let tried = Arc::new(AtomicUsize::new(0));
    let second = takes_all(dir.path());
    let target = Target::new(dir.path(), {
        let tried = Arc::clone(&tried);
        move |_: &Note| {
            let refused = block_on(second.store.replay(&second.handle, &ReplayOptions::default()));
            assert!(matches!(refused, Err(DeadLettersError::Busy(_))), "{refused:?}");
            let refused = dead_letter::purge(&place, &Selection::default(), false).unwrap_err().to_string();
            assert_eq!(refused, format!("{}: a replay or a purge of this directory is under way", place.display()));
            tried.fetch_add(1, Ordering::SeqCst);
            Will::Store
        }
    });
    assert!(target.replay().is_complete());
    assert_eq!(tried.load(Ordering::SeqCst), 2);
}

// Sabotage: take a file without asking for its lock: what is appended afterwards is lost with it.
#[test]
fn a_file_that_a_process_writes_is_read_and_otherwise_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let writing = DeadLetters::open(dir.path()).unwrap();
    writing.append_blocking("notes", "notes", &letters(0..2)).unwrap();
    let live = files(dir.path()).remove(0);
    // As a reader sees it that comes in the middle of an append.
    File::options().append(true).open(&live).unwrap().write_all(b"{\"id\":\"half").unwrap();

    let found: Vec<_> = dead_letter::list(dir.path()).unwrap().map(Result::unwrap).collect();
    assert!(found.len() == 2 && found.iter().all(|found| found.live && found.entry.is_ok()), "{found:?}");
    let before = fs::read(&live).unwrap();
    let target = takes_all(dir.path());
    let report = target.replay();
    assert_eq!((report.stored, report.live), (0, vec![live.clone()]));
    let purged = dead_letter::purge(dir.path(), &Selection::default(), false).unwrap();
    assert_eq!((purged.purged, purged.live), (0, vec![live.clone()]));
    assert_eq!(fs::read(&live).unwrap(), before);

    drop(found);
    block_on(writing.release());
    let report = target.replay();
    assert_eq!((report.stored, report.is_complete()), (2, true), "the half line was never acknowledged: {report:?}");
}

// Sabotage: let the filters fall through, or purge what is damaged with them: red.
#[test]
fn a_purge_removes_what_is_selected_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dead_letter::purge(&dir.path().join("none"), &Selection::default(), false).unwrap();
    assert_eq!((missing.purged, dir.path().join("none").exists()), (0, false));
    let dead_letters = DeadLetters::open(dir.path()).unwrap();
    dead_letters.append_blocking("a", "notes", &letters(0..3)).unwrap();
    dead_letters.append_blocking("b", "notes", &letters(3..6)).unwrap();
    block_on(dead_letters.release());
    let path = files(dir.path()).remove(0);
    File::options().append(true).open(&path).unwrap().write_all(b"rubbish\n").unwrap();
    let left = || {
        let found = dead_letter::list(dir.path()).unwrap().map(|found| found.unwrap().entry);
        found.map(|entry| entry.map_or("damaged".to_owned(), |entry| note_of(&entry).id)).collect::<Vec<_>>()
    };
    let purge = |selection: &Selection, dry_run| {
        let report = dead_letter::purge(dir.path(), selection, dry_run).unwrap();
        (report.purged, report.damaged)
    };
    let mut of_b = Selection::default();
    of_b.coordinator_id = Some("b".to_owned());
    of_b.limit = Some(2);
    assert_eq!(purge(&of_b, true), (2, 0));
    assert_eq!(left(), ["n0", "n1", "n2", "n3", "n4", "n5", "damaged"]);
    assert_eq!(purge(&of_b, false), (2, 0));
    assert_eq!(left(), ["n0", "n1", "n2", "n5", "damaged"]);
    let mut late = Selection::default();
    late.since = Some(market_data_store::Timestamp::MAX);
    assert_eq!(purge(&late, false), (0, 0));
    assert_eq!(purge(&Selection::default(), true), (4, 1));
    assert_eq!(purge(&Selection::default(), false), (4, 1));
    assert!(files(dir.path()).is_empty());
}

// Sabotage: take the right to settle for a dry run: a lock file is made, a journal is cleared away, and it is refused
// beside a replay.
#[test]
fn a_dry_run_of_a_purge_leaves_the_directory_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    keep(dir.path(), 0..3);
    let path = files(dir.path()).remove(0);
    // What a replay that was killed leaves behind.
    let name = "20231114T221320-500000-deadbeef.settled";
    fs::write(dir.path().join(name), "{\"id\":\"c4b71af0afbc85ae-1\",\"outcome\":\"stored\"}\n").unwrap();
    let names = || fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect::<BTreeSet<_>>();
    let before = names();
    let purge = || dead_letter::purge(dir.path(), &Selection::default(), true).unwrap();
    assert_eq!((purge().purged, purge().live.len()), (3, 0));
    assert_eq!(before.len(), 2);
    assert_eq!(names(), before);
    let writer = File::open(&path).unwrap();
    writer.lock().unwrap();
    assert_eq!((purge().purged, purge().live), (0, vec![path]));
}

// Sabotage: name the other half of a line end, or the byte order mark, as damage: the file never goes.
#[test]
fn an_editor_s_own_line_ends_and_its_mark_are_no_damage() {
    let dir = tempfile::tempdir().unwrap();
    keep(dir.path(), 0..3);
    let path = files(dir.path()).remove(0);
    fs::write(&path, format!("\u{feff}{}", fs::read_to_string(&path).unwrap().replace('\n', "\r\n"))).unwrap();
    let target = takes_all(dir.path());
    assert!(target.replay().is_complete());
    assert_eq!((target.stored().len(), files(dir.path()).len()), (3, 0));
}

// Sabotage: refuse a line without a checksum: the mended record cannot be replayed.
#[test]
fn a_record_can_be_mended_by_hand() {
    let dir = tempfile::tempdir().unwrap();
    keep(dir.path(), 0..2);
    let path = files(dir.path()).remove(0);
    let text = fs::read_to_string(&path).unwrap();
    let (first, second) = text.split_once('\n').unwrap();
    let (first, _) = first.rsplit_once(",\"crc\"").unwrap();
    fs::write(&path, format!("{}}}\n{second}", first.replace("\"n0\"", "\"mended\""))).unwrap();
    let target = takes_all(dir.path());
    assert!(target.replay().is_complete());
    assert_eq!(target.stored().iter().map(|note| &*note.id).collect::<Vec<_>>(), ["mended", "n1"]);
}

const CHILD: &str = "MDS_TEST_DEAD_LETTERS";

// Sabotage: count an entry before its sync, write on behind the half line that the limit left, or stop trying: red.
#[cfg(target_os = "linux")]
#[test]
fn a_file_that_cannot_grow_is_followed_by_another_and_nothing_is_lost() {
    let acknowledged = |dir: &Path| dir.join("acknowledged");
    if let Some(dir) = std::env::var_os(CHILD).map(PathBuf::from) {
        let dead_letters = DeadLetters::open(&dir).unwrap();
        let mut failed = 0;
        let mut log = File::create(acknowledged(&dir)).unwrap();
        for n in 0..600 {
            while let Err(error) = dead_letters.append_blocking("notes", "notes", &letters([n])) {
                assert!(error.to_string().contains("File too large"), "{error}");
                failed += 1;
            }
            writeln!(log, "{n}").unwrap();
        }
        assert!(failed > 2, "{failed} faults");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    // 32 or 64 KiB: `ulimit` counts in blocks of 512 or 1024 bytes. Ignoring the signal turns it into an error of
    // `write`.
    let child = Command::new("sh")
        .args(["-c", "trap '' XFSZ && ulimit -f 64 && exec \"$0\" \"$@\""])
        .arg(std::env::current_exe().unwrap())
        .args(["dead_letters::a_file_that_cannot_grow_is_followed_by_another_and_nothing_is_lost"])
        .args(["--exact", "--nocapture"])
        .env(CHILD, dir.path())
        .output()
        .unwrap();
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stderr));
    assert!(String::from_utf8_lossy(&child.stdout).contains("1 passed"));
    let logged = fs::read_to_string(acknowledged(dir.path())).unwrap();
    assert_eq!(logged.lines().count(), 600);
    let kept: Vec<Note> = entries(dir.path()).iter().map(note_of).collect();
    assert_eq!(kept, (0..600).map(note).collect::<Vec<_>>());
    assert!(files(dir.path()).len() > 2);
}

// Sabotage: release a file before all that was acknowledged is in it, or let a replay take a file that is written, or
// one by which a start tries the directory: red.
#[test]
fn writers_and_a_replay_on_one_directory_lose_nothing() {
    let each = size_of_test("MDS_TEST_DEAD_LETTERS_EACH", 4_000);
    let dir = tempfile::tempdir().unwrap();
    let done = AtomicUsize::new(0);
    let target = takes_all(dir.path());
    let mut stored = BTreeMap::new();
    let mut count = || target.stored().into_iter().for_each(|note| *stored.entry(note).or_insert(0) += 1);
    thread::scope(|scope| {
        for writer in 0..2 {
            let (done, dir) = (&done, dir.path());
            scope.spawn(move || {
                let mut random = StdRng::seed_from_u64(writer as u64);
                let mut dead_letters = DeadLetters::open(dir).unwrap();
                let mut n = writer * each;
                while n < (writer + 1) * each {
                    let more = random.random_range(1..4).min((writer + 1) * each - n);
                    dead_letters.append_blocking("notes", "notes", &letters(n..n + more)).unwrap();
                    n += more;
                    match random.random_range(0..200) {
                        0 => block_on(dead_letters.release()),
                        1 => dead_letters = DeadLetters::open(dir).unwrap(),
                        _ => {}
                    }
                }
                done.fetch_add(1, Ordering::SeqCst);
            });
        }
        let mut live = 0;
        while done.load(Ordering::SeqCst) < 2 {
            live += target.replay().live.len();
            count();
            for found in dead_letter::list(dir.path()).unwrap() {
                found.unwrap().entry.unwrap();
            }
        }
        assert!(live > 0, "no replay met a file that a process wrote");
    });
    // The last file is let go when the thread behind it ends.
    let mut last = 0;
    while !files(dir.path()).is_empty() {
        last += target.replay().stored;
        count();
    }
    assert!((last as usize) < 2 * each, "a replay beside the writers must find something");
    assert_eq!(stored, (0..2 * each).map(|n| (note(n), 1)).collect());
}

#[cfg(feature = "testing")]
mod in_a_store {
    use market_data_store::{coordinator::FaultyActor, sink::MemorySink};

    use super::*;

    // Sabotage: forget that a record is a letter already, with its receipt or at all: new entries of old updates come
    // behind the newest.
    #[test]
    fn a_replay_in_which_the_coordinator_or_its_queue_dies_makes_no_new_entries() {
        const UPDATES: usize = 1_200;
        let update = |n: usize| Note { id: "key".to_owned(), text: n.to_string() };
        for victim in [FaultyActor::Coordinator, FaultyActor::Queue] {
            let dir = tempfile::tempdir().unwrap();
            let place = dir.path().join("letters");
            let before = DeadLetters::open(&place).unwrap();
            let letters: Vec<_> = (0..UPDATES).map(|n| DeadLetter::new(&update(n), "refused", 1)).collect();
            before.append_blocking("notes", "notes", &letters).unwrap();
            block_on(before.release());
            let sink = MemorySink::<Note>::new();
            sink.hold();
            let mut settings = Settings::default();
            settings.dlq_path = place.clone();
            settings.coordinator = coordinator_settings(10_000, 1, 500);
            let coordinator = Coordinator::<Note>::new(sink.clone());
            let store = MarketDataStore::builder(settings).coordinator(coordinator).spawn().unwrap();
            let handle = store.coordinator::<Note>().unwrap();
            let (replayed, target) = (store.clone(), handle.clone());
            let replaying = thread::spawn(move || block_on(replayed.replay(&target, &ReplayOptions::default())));
            block_on(within(PATIENCE, sink.wait_held(1)));
            while block_on(handle.health()).submitted < 1_000 {
                thread::yield_now();
            }
            handle.fault(victim).strike();
            block_on(within(PATIENCE, store.stopped()));
            let report = replaying.join().unwrap().unwrap();
            assert!(!report.is_complete() && report.stored == 0, "{report:?}");
            let report = block_on(within(PATIENCE, store.shutdown(Duration::from_millis(50))));
            assert_eq!(report.unsettled(), 0, "each is a dead letter: {report:?}");
            block_on(store.dead_letters().release());
            assert!(entries(&place).iter().map(note_of).eq((0..UPDATES).map(update)), "{victim:?}");
        }
    }

    // Sabotage: give the coordinator other dead letters than the replay: the count stays 0.
    #[actix::test]
    async fn a_store_replays_its_own_dead_letters() {
        let dir = TempDir::new().unwrap();
        let sink = MemorySink::<Note>::new();
        sink.fail_when(|batch| batch.iter().any(|note| note.id == "n3").then(|| SinkError::permanent("no n3 here")));
        let mut settings = Settings::default();
        settings.dlq_path = dir.path().join("dead");
        settings.coordinator.flush_interval = Duration::from_millis(5);
        let coordinator = Coordinator::<Note>::new(sink.clone());
        let store = MarketDataStore::builder(settings).coordinator(coordinator).start().await.unwrap();
        let handle = store.coordinator::<Note>().unwrap();
        handle.submit_many((0..8).map(note)).await.unwrap();
        handle.flush().await.unwrap();

        let mut records: Vec<Note> = (0..8).map(note).filter(|note| note.id != "n3").collect();
        for replays in 0..3 {
            let kept = entries(store.dead_letters().dir());
            assert_eq!(
                kept.iter().map(|entry| (note_of(entry), entry.replay_count)).collect::<Vec<_>>(),
                [(note(3), replays)]
            );
            if replays == 2 {
                sink.heal();
            }
            let report = store.replay(&handle, &ReplayOptions::default()).await.unwrap();
            assert_eq!(report.is_complete(), replays == 2, "{report:?}");
        }
        assert_eq!(files(store.dead_letters().dir()), Vec::<PathBuf>::new());
        records.push(note(3));
        let mut stored = sink.records();
        stored.sort();
        records.sort();
        assert_eq!(stored, records);
        store.shutdown(Duration::from_secs(5)).await;
    }
}
