//! Appending from inside, on a disk that a test makes fail.

use std::{
    collections::VecDeque,
    fs::{self, File},
    sync::Arc,
    thread,
};

use futures::executor::block_on;
use parking_lot::Mutex;
use serde_json::{Value, value::RawValue};
use tempfile::TempDir;

use super::*;
use crate::{
    dead_letter::{DeadLetter, DeadLetters, line},
    record::Record,
};

/// What happens at the next steps of the disk, in order; where nothing is planned a step does what it should.
#[derive(Clone, Default)]
struct Script(Arc<Mutex<Plan>>);

#[derive(Default)]
struct Plan {
    create: VecDeque<Step>,
    write: VecDeque<Step>,
    sync: VecDeque<Step>,
    truncate: VecDeque<Step>,
    look: VecDeque<Step>,
    /// Faults that fired.
    fired: usize,
    syncs: usize,
}

enum Step {
    Works,
    Fails(io::ErrorKind),
    /// Writes so many bytes, and fails then.
    Short(usize),
    /// Does it to another file, such as /dev/full.
    On(&'static str),
    /// Finds the file gone.
    Gone,
    /// Waits for the other end to go away.
    Waits(std::sync::mpsc::Receiver<()>),
}

impl Script {
    fn next(&self, queue: impl Fn(&mut Plan) -> &mut VecDeque<Step>) -> Step {
        let mut plan = self.0.lock();
        let step = queue(&mut plan).pop_front().unwrap_or(Step::Works);
        plan.fired += usize::from(!matches!(step, Step::Works | Step::Waits(_)));
        step
    }

    fn fired(&self) -> usize {
        self.0.lock().fired
    }
}

impl Disk for Script {
    fn create(&mut self, path: &Path) -> io::Result<Box<dyn Output>> {
        let real = match self.next(|plan| &mut plan.create) {
            Step::Fails(kind) => return Err(kind.into()),
            Step::On(device) => {
                drop(RealDisk.create(path)?);
                Box::new(Locked::new(OpenOptions::new().append(true).open(device)?).unwrap()) as _
            }
            _ => RealDisk.create(path)?,
        };
        Ok(Box::new(Scripted { real, script: self.clone() }))
    }
}

struct Scripted {
    real: Box<dyn Output>,
    script: Script,
}

impl Output for Scripted {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self.script.next(|plan| &mut plan.write) {
            Step::Fails(kind) => Err(kind.into()),
            Step::Short(len) => {
                self.real.write_all(&bytes[..len])?;
                Err(io::ErrorKind::StorageFull.into())
            }
            Step::Waits(until) => {
                let _ = until.recv();
                self.real.write_all(bytes)
            }
            _ => self.real.write_all(bytes),
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        self.script.0.lock().syncs += 1;
        match self.script.next(|plan| &mut plan.sync) {
            Step::Fails(kind) => Err(kind.into()),
            _ => self.real.sync(),
        }
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        match self.script.next(|plan| &mut plan.truncate) {
            Step::Fails(kind) => Err(kind.into()),
            _ => self.real.truncate(len),
        }
    }

    fn is_whole_at(&mut self, path: &Path, len: u64) -> io::Result<bool> {
        match self.script.next(|plan| &mut plan.look) {
            Step::Fails(kind) => Err(kind.into()),
            Step::Gone => Ok(false),
            _ => self.real.is_whole_at(path, len),
        }
    }
}

/// A disk whose files are made on a device that is full, while it is told so.
#[cfg(all(target_os = "linux", feature = "sqlite"))]
pub(crate) struct FullDisk {
    pub(crate) is_full: std::sync::atomic::AtomicBool,
    /// How many files were made while it was.
    pub(crate) tries: std::sync::atomic::AtomicUsize,
}

#[cfg(all(target_os = "linux", feature = "sqlite"))]
impl Disk for Arc<FullDisk> {
    fn create(&mut self, path: &Path) -> io::Result<Box<dyn Output>> {
        let real = RealDisk.create(path)?;
        if !self.is_full.load(std::sync::atomic::Ordering::Acquire) {
            return Ok(real);
        }
        drop(real);
        self.tries.fetch_add(1, std::sync::atomic::Ordering::Release);
        Ok(Box::new(Locked::new(OpenOptions::new().append(true).open("/dev/full")?).unwrap()))
    }
}

#[cfg(all(target_os = "linux", feature = "sqlite"))]
impl DeadLetters {
    /// Opens it on a disk that is full from then on, so that each append has a file of its own.
    pub(crate) fn open_on_full_disk(dir: &Path) -> (Self, Arc<FullDisk>) {
        let disk = Arc::new(FullDisk { is_full: false.into(), tries: 0.into() });
        let limits = Limits { file_bytes: 1, ..Limits::default() };
        let letters = Self::open_with(dir, limits, Box::new(Arc::clone(&disk))).unwrap();
        disk.is_full.store(true, std::sync::atomic::Ordering::Release);
        (letters, disk)
    }
}

impl DeadLetters {
    /// Opens it on a disk whose next write waits for the other end to go away. Returns what counts the syncs from then
    /// on, too.
    pub(crate) fn open_on_held_disk(dir: &Path, until: std::sync::mpsc::Receiver<()>) -> (Self, impl Fn() -> usize) {
        let script = Script::default();
        let letters = Self::open_with(dir, Limits::default(), Box::new(script.clone())).unwrap();
        script.0.lock().write.push_back(Step::Waits(until));
        let before = script.0.lock().syncs;
        (letters, move || script.0.lock().syncs - before)
    }
}

struct Rig {
    dir: TempDir,
    script: Script,
    letters: DeadLetters,
}

impl Rig {
    fn new() -> Self {
        Self::with(Limits { idle: Duration::from_secs(3600), ..Limits::default() })
    }

    fn with(limits: Limits) -> Self {
        let (dir, script) = (tempfile::tempdir().unwrap(), Script::default());
        let letters = DeadLetters::open_with(&dir.path().join("a/b"), limits, Box::new(script.clone())).unwrap();
        Self { dir, script, letters }
    }

    fn plan(&self, queue: impl Fn(&mut Plan) -> &mut VecDeque<Step>, step: Step) {
        queue(&mut self.script.0.lock()).push_back(step);
    }

    fn append(&self, numbers: std::ops::Range<u64>) -> Result<(), DeadLettersError> {
        self.letters.append_blocking("ticks", "ticks", &letters(numbers))
    }

    fn files(&self) -> Vec<PathBuf> {
        files::list(self.letters.dir()).unwrap().entries
    }

    /// The numbers of the records in whole lines, file by file, and how many parts of lines are damaged.
    fn found(&self) -> (Vec<Vec<u64>>, usize) {
        let mut damaged = 0;
        let mut numbers = |path: &PathBuf| {
            let bytes = fs::read(path).unwrap();
            let mut numbers = Vec::new();
            for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                for part in line::parts(line) {
                    match part {
                        line::Part::Whole(line) => {
                            let entry: Value = serde_json::from_slice(line).unwrap();
                            numbers.push(entry["record"]["n"].as_u64().unwrap());
                        }
                        line::Part::Rest(_) => damaged += 1,
                    }
                }
            }
            numbers
        };
        (self.files().iter().map(&mut numbers).collect(), damaged)
    }
}

/// A record whose JSON is as it was given.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
struct Raw(Box<RawValue>);

impl Record for Raw {
    const KIND: &'static str = "ticks";

    fn partition_key(&self) -> &str {
        self.0.get()
    }
}

fn raw(json: &str) -> Raw {
    Raw(RawValue::from_string(json.to_owned()).unwrap())
}

fn letters(numbers: std::ops::Range<u64>) -> Vec<DeadLetter> {
    numbers.map(|n| DeadLetter::new(&raw(&format!("{{\"n\":{n}}}")), "refused", 1)).collect()
}

const FULL: Step = Step::Fails(io::ErrorKind::StorageFull);

// Red when the directory is made by the first append alone, what was tried in it stays there, an append of nothing
// makes a file, or others can read the directory or a file.
#[cfg(unix)]
#[test]
fn a_start_makes_the_directory_and_leaves_it_empty_and_only_its_owner_can_read_it() {
    use std::os::unix::fs::PermissionsExt;
    let rig = Rig::new();
    let in_it = || fs::read_dir(rig.letters.dir()).unwrap().count();
    assert_eq!(in_it(), 0);
    rig.append(0..0).unwrap();
    assert_eq!(in_it(), 0, "there was nothing to append");
    rig.append(0..3).unwrap();
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(rig.letters.dir()), 0o700);
    assert_eq!(mode(&rig.files()[0]), 0o600);
    assert_eq!(rig.found(), (vec![vec![0, 1, 2]], 0));
}

// Red when a start does not make a file, does not write it, or does not sync it, or when what it tried stays behind.
#[test]
fn a_start_tries_each_step_of_an_append() {
    let steps: [fn(&mut Plan) -> &mut VecDeque<Step>; 3] =
        [|plan| &mut plan.create, |plan| &mut plan.write, |plan| &mut plan.sync];
    for (number, step) in steps.into_iter().enumerate() {
        let (dir, script) = (tempfile::tempdir().unwrap(), Script::default());
        step(&mut script.0.lock()).push_back(FULL);
        let opened = DeadLetters::open_with(dir.path(), Limits::default(), Box::new(script.clone()));
        let error = opened.expect_err("it opened");
        assert!(matches!(&error, DeadLettersError::Io { path, .. } if path == dir.path()), "step {number}: {error}");
        assert!(error.to_string().contains("cannot keep dead letters in it"), "step {number}: {error}");
        assert_eq!(script.fired(), 1, "step {number}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "step {number} left something behind");
    }
}

// Sabotage: lock the file after it has its name, or not at all: red.
#[test]
fn a_file_is_locked_while_it_is_written_and_free_once_it_is_let_go() {
    let rig = Rig::new();
    rig.append(0..1).unwrap();
    let file = File::open(&rig.files()[0]).unwrap();
    assert!(matches!(file.try_lock(), Err(fs::TryLockError::WouldBlock)));
    block_on(rig.letters.release());
    file.try_lock().unwrap();
    rig.append(1..2).unwrap();
    assert_eq!(rig.found(), (vec![vec![0], vec![1]], 0));
}

// Sabotage: answer before the sync, keep a part of what was written, or write on in a file whose sync failed: red.
#[test]
fn what_could_not_be_written_or_synced_is_not_there_and_can_be_appended_again() {
    let rig = Rig::new();
    rig.append(0..2).unwrap();
    let cases: [fn(&mut Plan); 6] = [
        |plan| plan.write.push_back(FULL),
        |plan| plan.write.push_back(Step::Short(0)),
        |plan| plan.write.push_back(Step::Short(30)),
        |plan| plan.write.push_back(Step::Short(300)),
        |plan| plan.sync.push_back(Step::Fails(io::ErrorKind::Other)),
        |plan| plan.create.push_back(FULL),
    ];
    for (case, plan) in cases.into_iter().enumerate() {
        // Where a file is open, and where there is none.
        for is_open in [true, false] {
            block_on(rig.letters.release());
            if is_open {
                rig.append(2..3).unwrap();
            }
            let before = rig.found();
            plan(&mut rig.script.0.lock());
            let fired = rig.script.fired();
            if case == 5 && is_open {
                // There is no file to be made before this one is let go.
                block_on(rig.letters.release());
            }
            let error = rig.append(100..103).unwrap_err().to_string();
            assert_eq!(rig.script.fired(), fired + 1);
            assert!(error.contains(rig.letters.dir().to_str().unwrap()), "{error}");
            assert_eq!(rig.found(), before);
            rig.append(3..4).unwrap();
            assert_eq!(rig.found().0.last().unwrap(), &[3], "in a file of its own: the other one is not trusted");
        }
    }
    assert_eq!((rig.script.fired(), rig.found().1), (12, 0));
}

// Sabotage: begin the next append in the same file: its first entry is damaged.
#[test]
fn where_undoing_fails_too_only_the_torn_line_is_damaged() {
    let rig = Rig::new();
    rig.append(0..1).unwrap();
    rig.plan(|plan| &mut plan.write, Step::Short(250));
    rig.plan(|plan| &mut plan.truncate, Step::Fails(io::ErrorKind::Other));
    rig.append(1..4).unwrap_err();
    rig.append(1..4).unwrap();
    assert_eq!(rig.script.fired(), 2);
    // The second of the torn append was cut off; its first is there twice, which a replay does not mind.
    assert_eq!(rig.found(), (vec![vec![0, 1], vec![1, 2, 3]], 1));
}

// Sabotage: ignore the error of `write_all`, or that of `sync`: red.
#[cfg(target_os = "linux")]
#[test]
fn a_full_device_keeps_nothing_and_says_so_until_there_is_space() {
    let rig = Rig::new();
    for _ in 0..5 {
        rig.plan(|plan| &mut plan.create, Step::On("/dev/full"));
        let error = rig.append(0..3).unwrap_err().to_string();
        assert!(error.contains("No space left on device"), "{error}");
    }
    rig.append(0..3).unwrap();
    assert_eq!(rig.found().0.into_iter().flatten().collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(rig.script.fired(), 5);
}

// Sabotage: leave out the look, or its length: acknowledged, and gone. Or refuse what could go to a new file: at the
// end of a process no one tries again.
#[cfg(unix)]
#[test]
fn what_comes_behind_a_file_that_was_removed_or_cut_off_goes_to_a_new_one() {
    let rig = Rig::new();
    rig.append(0..1).unwrap();
    fs::remove_dir_all(rig.letters.dir()).unwrap();
    rig.append(1..3).unwrap();
    assert_eq!((rig.letters.file_was_removed(), rig.found()), (true, (vec![vec![1, 2]], 0)));

    let rig = Rig::new();
    rig.append(1..3).unwrap();
    OpenOptions::new().write(true).open(&rig.files()[0]).unwrap().set_len(0).unwrap();
    rig.append(3..4).unwrap();
    // It was written to both.
    assert_eq!((rig.letters.file_was_removed(), rig.found()), (true, (vec![vec![3], vec![3]], 0)));

    let rig = Rig::new();
    rig.append(3..4).unwrap();
    for _ in 0..2 {
        rig.plan(|plan| &mut plan.look, Step::Gone);
    }
    let error = rig.append(4..5).unwrap_err().to_string();
    assert!(error.ends_with("the file was removed, replaced or cut off while it was written"), "{error}");
    assert_eq!((rig.letters.file_was_removed(), rig.script.fired()), (true, 2));
}

// Sabotage: look only behind a write that worked, or let go of a file that could not be looked at: gone, and not
// noticed.
#[cfg(unix)]
#[test]
fn a_removed_file_is_noticed_though_the_next_append_fails() {
    let rig = Rig::new();
    rig.append(0..2).unwrap();
    fs::remove_file(&rig.files()[0]).unwrap();
    rig.plan(|plan| &mut plan.write, Step::Fails(io::ErrorKind::StorageFull));
    rig.append(2..3).unwrap_err();
    assert!(rig.letters.file_was_removed());

    let rig = Rig::new();
    rig.append(2..5).unwrap();
    rig.plan(|plan| &mut plan.look, Step::Fails(io::ErrorKind::PermissionDenied));
    rig.append(5..6).unwrap_err();
    fs::remove_file(&rig.files()[0]).unwrap();
    block_on(rig.letters.release());
    assert_eq!((rig.letters.file_was_removed(), rig.script.fired()), (true, 1));
}

// Sabotage: let go of a file that is not written any more without a last look, or only of one that could be looked at
// before: gone, and not noticed.
#[test]
fn a_file_that_is_removed_when_it_is_not_written_any_more_is_noticed() {
    let cases: [fn(&mut Plan); 5] = [
        |plan| plan.write.push_back(FULL),
        |plan| plan.sync.push_back(Step::Fails(io::ErrorKind::Other)),
        // It cannot be looked at, and what was written cannot be undone.
        |plan| {
            plan.look.push_back(Step::Fails(io::ErrorKind::PermissionDenied));
            plan.truncate.push_back(Step::Fails(io::ErrorKind::PermissionDenied));
        },
        |plan| {
            plan.write.push_back(FULL);
            plan.look.push_back(Step::Fails(io::ErrorKind::PermissionDenied));
        },
        // Seen at once, and then again.
        |plan| {
            plan.write.push_back(FULL);
            plan.look.push_back(Step::Gone);
        },
    ];
    for (case, plan) in cases.into_iter().enumerate() {
        let rig = Rig::new();
        rig.append(0..2).unwrap();
        {
            let mut planned = rig.script.0.lock();
            plan(&mut planned);
            if planned.look.is_empty() {
                planned.look.push_back(Step::Works);
            }
            planned.look.push_back(Step::Gone);
        }
        rig.append(2..3).unwrap_err();
        assert!(rig.letters.file_was_removed(), "case {case}");
        // The next goes to a file of its own.
        rig.append(3..4).unwrap();
        block_on(rig.letters.release());
        let planned = rig.script.0.lock();
        assert!(planned.look.is_empty() && planned.truncate.is_empty(), "case {case}: a fault did not fire");
    }
}

// Sabotage: look at the file only when something is appended: nothing is noticed, and the letters are nowhere. Or ask
// for no more than whether it can be seen: with the directory's link gone and back, a file counts as removed that is
// there.
#[cfg(unix)]
#[test]
fn a_removed_file_is_noticed_though_nothing_is_appended_any_more() {
    let rig = Rig::new();
    rig.append(0..2).unwrap();
    block_on(rig.letters.release());
    fs::remove_file(&rig.files()[0]).unwrap();
    assert!(!rig.letters.file_was_removed(), "a file that was let go is for others to remove");

    rig.append(2..4).unwrap();
    let (dir, link) = (rig.letters.dir().to_owned(), rig.dir.path().join("elsewhere"));
    fs::rename(&dir, &link).unwrap();
    std::os::unix::fs::symlink(&dir, &dir).unwrap();
    rig.append(4..5).unwrap_err();
    fs::remove_file(&dir).unwrap();
    fs::rename(&link, &dir).unwrap();
    assert_eq!((rig.letters.file_was_removed(), rig.found()), (false, (vec![vec![2, 3]], 0)));

    rig.append(5..8).unwrap();
    fs::remove_dir_all(&dir).unwrap();
    block_on(rig.letters.release());
    assert!(rig.letters.file_was_removed());
}

// Sabotage: pass on what the operating system says: that the file exists, which is no help.
#[cfg(unix)]
#[test]
fn something_else_in_the_place_of_the_directory_is_named() {
    let rig = Rig::new();
    fs::remove_dir(rig.letters.dir()).unwrap();
    std::os::unix::fs::symlink("nowhere", rig.letters.dir()).unwrap();
    let error = rig.append(0..1).unwrap_err().to_string();
    assert!(error.ends_with("/a/b: cannot make it: expected a directory, found something else there"), "{error}");
}

// Sabotage: take one job at a time: eleven syncs. Answer one of them before the sync: it is there too early.
#[test]
fn appends_that_wait_together_share_one_sync() {
    let rig = Rig::new();
    rig.append(0..1).unwrap();
    let (go_on, until) = std::sync::mpsc::channel();
    rig.plan(|plan| &mut plan.write, Step::Waits(until));
    let before = rig.script.0.lock().syncs;
    let first = rig.letters.append("ticks", "ticks", &letters(1..2));
    // The thread has taken the first one when its write has begun.
    while !rig.script.0.lock().write.is_empty() {
        thread::yield_now();
    }
    let rest: Vec<_> = (2..12).map(|n| rig.letters.append("ticks", "ticks", &letters(n..n + 1))).collect();
    drop(rig.letters.append("ticks", "ticks", &letters(12..13)));
    drop(go_on);
    block_on(first).unwrap();
    for append in rest {
        block_on(append).unwrap();
    }
    assert_eq!(rig.script.0.lock().syncs - before, 2);
    assert_eq!(rig.found(), (vec![(0..12).collect()], 0), "one that was cancelled before its turn is not there");
}

// Sabotage: never rotate: one file.
#[test]
fn files_end_at_their_limit_and_their_names_sort_by_age() {
    let rig = Rig::with(Limits { file_bytes: 1000, idle: Duration::from_secs(3600) });
    for n in 0..50 {
        rig.append(n..n + 1).unwrap();
    }
    let (numbers, damaged) = rig.found();
    assert!((5..=25).contains(&numbers.len()), "{numbers:?}");
    assert_eq!((numbers.concat(), damaged), ((0..50).collect(), 0));
}

// Sabotage: wait without a limit while a file is open: it hangs.
#[test]
fn a_file_that_no_process_appends_to_is_let_go() {
    let rig = Rig::with(Limits { idle: Duration::from_millis(1), ..Limits::default() });
    rig.append(0..1).unwrap();
    File::open(&rig.files()[0]).unwrap().lock().unwrap();
}

// Sabotage: take the JSON of a record as it is: its second line is damage.
#[test]
fn a_record_that_writes_its_json_on_several_lines_is_one_line() {
    let rig = Rig::new();
    let pretty = raw("{\n  \"n\":\r\n 7, \"text\": \"a\\nb\"\n}");
    let mut whole = DeadLetter::new(&pretty, "two\nlines", 1);
    whole.record = pretty.0.clone();
    rig.letters.append_blocking("ticks", "ticks", &[whole, DeadLetter::new(&pretty, "e", 1)]).unwrap();
    assert_eq!(rig.found(), (vec![vec![7, 7]], 0));
}

// Sabotage: let a file or what lies below one pass as a directory: red.
#[test]
fn what_cannot_be_a_directory_is_refused_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let error = DeadLetters::open(&file).unwrap_err().to_string();
    assert_eq!(error, format!("{}: expected a directory for dead letters, got something else", file.display()));
    let error = DeadLetters::open(&file.join("below")).unwrap_err().to_string();
    assert!(error.contains("below: cannot keep dead letters in it: Not a directory"), "{error}");
}
