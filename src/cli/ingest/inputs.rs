//! From the words of the command line to the files that are read, in order.
//!
//! The order is that of the words, and within a pattern or a directory that of the names, byte by byte; it decides
//! which of two rows for one bar is the later one. A word that names something takes it as it stands, whatever
//! characters are in it; only then is it a pattern, which a shell may have left to us because it was quoted.

use std::{
    collections::HashSet,
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use globset::{GlobBuilder, GlobMatcher};
use market_data_store::text::Shown;
use walkdir::WalkDir;

use super::input::Input;

/// What the files of a directory have to end in, packed or not.
const ENDINGS: [&str; 6] = [".csv", ".tsv", ".txt", ".json", ".jsonl", ".ndjson"];
const PACKED: [&str; 2] = [".gz", ".zst"];
const ZIP: &str = ".zip";
/// What macOS packs beside the files of an archive, under the same names.
const MACOS: &str = "__MACOSX";
/// What makes a word a pattern.
const WILDCARDS: [char; 4] = ['*', '?', '[', '{'];

/// A word that stands for no file.
#[derive(Debug, thiserror::Error)]
pub enum NoInput {
    #[error("expected a pattern that matches a file, got one that matches none")]
    Unmatched,
    #[error("expected a pattern, got one that is broken: {0}")]
    Broken(#[from] globset::Error),
    #[error("expected a directory with files that end in {}, got none in it", ENDINGS.join(", "))]
    Empty,
    #[error("cannot read: {0}")]
    Io(#[from] io::Error),
}

/// Returns the files that the words stand for, and the words that stand for none.
///
/// A file that comes twice, be it by another path, is read once, in its last place: there its rows win, as they would if it
/// were read twice. Under another name it is another one, since names can say what is in them.
///
/// Of a directory it takes the files in it, and in the directories below it where `recursive`, if they are not hidden
/// and their names end as bars usually do; what it leaves out is named in the log.
pub fn expand(words: &[PathBuf], recursive: bool) -> (Vec<Input>, Vec<(PathBuf, NoInput)>) {
    let (mut inputs, mut missing) = (Vec::new(), Vec::new());
    for word in words {
        match files_of(word, recursive) {
            Ok(files) => inputs.extend(files.iter().map(|file| Input::new(file, word))),
            Err(error) => missing.push((word.clone(), error)),
        }
    }
    (each_once(inputs), missing)
}

fn each_once(mut inputs: Vec<Input>) -> Vec<Input> {
    let (mut seen, mut again) = (HashSet::new(), Vec::new());
    inputs.reverse();
    inputs.retain(|input| {
        // What can be read only once is not the same twice.
        let Some(path) = input.bytes.and_then(|_| fs::canonicalize(&input.path).ok()) else { return true };
        let is_new = seen.insert((path, input.path.file_name().map(OsStr::to_owned)));
        if !is_new {
            again.push(Arc::clone(&input.name));
        }
        is_new
    });
    inputs.reverse();
    if let Some(first) = again.last() {
        tracing::info!(files = again.len(), first = %Shown(first), "files come again later, and are read there");
    }
    inputs
}

fn files_of(word: &Path, recursive: bool) -> Result<Vec<PathBuf>, NoInput> {
    if word.is_dir() {
        return files_in(word, recursive);
    }
    match word.to_str() {
        Some(pattern) if fs::symlink_metadata(word).is_err() && pattern.contains(WILDCARDS) => matching(pattern),
        // What is not there is told when it is looked into, with what the system says.
        _ => Ok(vec![word.to_owned()]),
    }
}

/// Returns the files that a pattern matches. `*`, `?`, `[...]` and `{a,b}` stand for parts of one name, `**` for any
/// directories.
/// As in a shell, what is hidden has to be named with its dot.
fn matching(pattern: &str) -> Result<Vec<PathBuf>, NoInput> {
    let parts: Vec<&str> = pattern.split('/').collect();
    // At least one part has a wildcard, or it would be a name.
    let first = parts.iter().position(|part| part.contains(WILDCARDS)).unwrap_or(parts.len() - 1);
    let (before, parts) = parts.split_at(first);
    let root = match before {
        [] => PathBuf::from("."),
        [""] => PathBuf::from("/"),
        names => PathBuf::from(names.join("/")),
    };
    let whole = matcher(&parts.join("/"))?;
    let each = parts.iter().map(|part| matcher(part)).collect::<Result<Vec<_>, _>>()?;
    let any_depth = parts.iter().position(|part| *part == "**");
    let is_wanted = |name: &OsStr, depth: usize| {
        let names_dots = parts.iter().any(|part| part.starts_with('.'));
        // Above `**` a directory that its own part does not match leads nowhere.
        let is_matched = depth > any_depth.unwrap_or(parts.len()) || each[depth - 1].is_match(name);
        (names_dots || !is_hidden(name)) && is_matched
    };
    let mut walk = WalkDir::new(&root).min_depth(1).follow_links(true);
    if any_depth.is_none() {
        walk = walk.max_depth(parts.len());
    }
    let mut files = Vec::new();
    for entry in
        walk.into_iter().filter_entry(|entry| entry.depth() == 0 || is_wanted(entry.file_name(), entry.depth()))
    {
        let path = match entry {
            Ok(entry) if entry.file_type().is_dir() => continue,
            Ok(entry) => entry.into_path(),
            // A link that leads back to where it is found: everything below is found there.
            Err(error) if error.loop_ancestor().is_some() => continue,
            Err(error) => match (error.path().map(Path::to_owned), error.io_error().map(io::Error::kind)) {
                // A link that leads nowhere is told when it is looked into. A root that is not there holds nothing.
                (Some(path), Some(io::ErrorKind::NotFound)) if path != root => path,
                (_, Some(io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)) => continue,
                _ => return Err(io::Error::from(error).into()),
            },
        };
        let below = path.strip_prefix(&root).unwrap_or(&path);
        if whole.is_match(below) && parts.last() != Some(&"**") {
            files.push(if before.is_empty() { below.to_owned() } else { path });
        }
    }
    if files.is_empty() {
        return Err(NoInput::Unmatched);
    }
    sort(&mut files);
    Ok(files)
}

fn matcher(pattern: &str) -> Result<GlobMatcher, globset::Error> {
    let glob = GlobBuilder::new(pattern).literal_separator(true).backslash_escape(false).build()?;
    Ok(glob.compile_matcher())
}

fn files_in(directory: &Path, recursive: bool) -> Result<Vec<PathBuf>, NoInput> {
    let (mut files, mut foreign, mut below) = (Vec::new(), Vec::new(), Vec::new());
    let mut walk = WalkDir::new(directory).min_depth(1).follow_links(true);
    if !recursive {
        walk = walk.max_depth(1);
    }
    for entry in walk.into_iter().filter_entry(|entry| entry.depth() == 0 || !is_left_out(entry.file_name())) {
        let path = match entry {
            Ok(entry) if entry.file_type().is_dir() => {
                if !recursive {
                    below.push(entry.into_path());
                }
                continue;
            }
            Ok(entry) => entry.into_path(),
            // A link that leads back to where it is found, or to above all that is read.
            Err(error) if error.loop_ancestor().is_some() => continue,
            Err(error) => match (error.path().map(Path::to_owned), error.io_error().map(io::Error::kind)) {
                // A link that leads nowhere is told when it is looked into.
                (Some(path), Some(io::ErrorKind::NotFound)) if path != directory => path,
                _ => return Err(io::Error::from(error).into()),
            },
        };
        let name = path.file_name().unwrap_or_default();
        // The filter above did not see such a link.
        if is_left_out(name) {
            continue;
        }
        if has_known_ending(name) { files.push(path) } else { foreign.push(path) }
    }
    if let Some((first, directories)) = first_of(&mut below, directory) {
        let directory = directory.to_string_lossy();
        let (directory, first) = (Shown(&directory), Shown(&first));
        tracing::warn!(%directory, directories, %first, "directories below it were left out");
    }
    if let Some((first, files)) = first_of(&mut foreign, directory) {
        let directory = directory.to_string_lossy();
        let (directory, first) = (Shown(&directory), Shown(&first));
        tracing::warn!(%directory, files, %first, "files were left out whose names end in nothing known");
    }
    if files.is_empty() {
        return Err(NoInput::Empty);
    }
    sort(&mut files);
    Ok(files)
}

fn is_left_out(name: &OsStr) -> bool {
    is_hidden(name) || name == MACOS
}

/// Returns which of the paths comes first, as seen from the directory, and how many they are.
fn first_of(paths: &mut [PathBuf], directory: &Path) -> Option<(String, usize)> {
    sort(paths);
    let first = paths.first()?;
    let first = first.strip_prefix(directory).unwrap_or(first);
    Some((first.to_string_lossy().into_owned(), paths.len()))
}

/// By names, byte by byte: a path sorts before those that it begins.
fn sort(paths: &mut [PathBuf]) {
    paths.sort_by(|a, b| a.as_os_str().cmp(b.as_os_str()));
}

fn is_hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".")
}

fn has_known_ending(name: &OsStr) -> bool {
    let name = name.to_string_lossy().to_ascii_lowercase();
    let unpacked = PACKED.iter().find_map(|packed| name.strip_suffix(packed)).unwrap_or(&name);
    name.ends_with(ZIP) || ENDINGS.iter().any(|ending| unpacked.ends_with(ending))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The files that a word stands for, relative to a directory with some in it.
    fn expanded(word: &str) -> Result<Vec<String>, String> {
        let dir = tempfile::tempdir().unwrap();
        for name in
            ["b.csv", "a.csv", "a10.csv", "a2.CSV", "x[1].csv", "x1.csv", ".hidden.csv", "notes.md", "c.json.gz"]
        {
            fs::write(dir.path().join(name), "").unwrap();
        }
        fs::create_dir_all(dir.path().join("below/deeper.csv")).unwrap();
        fs::create_dir(dir.path().join("empty")).unwrap();
        fs::write(dir.path().join("below/z.zip"), "").unwrap();
        let files = files_of(&dir.path().join(word), true).map_err(|error| error.to_string())?;
        let relative = |path: &PathBuf| path.strip_prefix(dir.path()).unwrap().to_str().unwrap().to_owned();
        Ok(files.iter().map(relative).collect())
    }

    // Red if the order is the file system's, hidden files are taken, or a name is taken for a pattern.
    #[test]
    fn a_word_is_a_name_a_directory_or_a_pattern() {
        for (word, expected) in [
            ("a.csv", &["a.csv"][..]),
            ("x[1].csv", &["x[1].csv"]),
            ("x[!2].csv", &["x1.csv"]),
            ("a*.csv", &["a.csv", "a10.csv"]),
            ("*", &["a.csv", "a10.csv", "a2.CSV", "b.csv", "c.json.gz", "notes.md", "x1.csv", "x[1].csv"]),
            ("?.csv", &["a.csv", "b.csv"]),
            ("*/*", &["below/z.zip"]),
            ("**/z*", &["below/z.zip"]),
            (".h*", &[".hidden.csv"]),
            ("{a,b}.csv", &["a.csv", "b.csv"]),
            ("below", &["below/z.zip"]),
            ("", &["a.csv", "a10.csv", "a2.CSV", "b.csv", "below/z.zip", "c.json.gz", "x1.csv", "x[1].csv"]),
            ("gone.csv", &["gone.csv"]),
        ] {
            assert_eq!(expanded(word).unwrap(), expected, "{word}");
        }
    }

    // Red if directories are read one after the other instead of by the whole path, what is hidden or macOS's own is
    // read, or `--no-recursive` goes into any.
    #[test]
    fn a_directory_stands_for_the_files_below_it_in_the_order_of_their_paths() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        let all = ["a-b.csv", "a.csv", "a/2.csv", "a/b/1.csv", "a/b/c/1.zip", "a0.csv", "z/1.csv"];
        for name in all.iter().chain(&[
            "a/.git/1.csv",
            ".cache/1.csv",
            "__MACOSX/a.csv",
            "a/__MACOSX/a.csv",
            "a/._2.csv",
            "a/1.zip.CHECKSUM",
            "notes/read.me",
        ]) {
            fs::create_dir_all(data.join(name).parent().unwrap()).unwrap();
            fs::write(data.join(name), "").unwrap();
        }
        let read = |word: &Path, recursive| {
            let files = files_of(word, recursive).unwrap();
            files.iter().map(|file| file.strip_prefix(word).unwrap().to_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(read(&data, true), all);
        assert_eq!(read(&data, false), ["a-b.csv", "a.csv", "a0.csv"]);
        assert_eq!(read(&data.join(".cache"), true), ["1.csv"], "what is named is read");
        assert_eq!(read(&data.join("__MACOSX"), true), ["a.csv"], "what is named is read");
        assert!(matches!(files_of(&data.join("notes"), true), Err(NoInput::Empty)));
        // Nothing but directories in it.
        assert!(matches!(files_of(dir.path(), false), Err(NoInput::Empty)));
    }

    // Red if a link that leads back is followed, also to above all that is read, or another one is not.
    #[cfg(unix)]
    #[test]
    fn a_directory_ends_in_links_that_lead_back_and_is_read_through_the_others() {
        use std::os::unix::fs::symlink;

        let dir = tempfile::tempdir().unwrap();
        for name in ["data/a/1.csv", "elsewhere/2.csv", "3.csv"] {
            fs::create_dir_all(dir.path().join(name).parent().unwrap()).unwrap();
            fs::write(dir.path().join(name), "").unwrap();
        }
        let data = dir.path().join("data");
        for (target, link) in [
            (".", "self"),
            ("..", "a/up"),
            ("../..", "a/above"),
            ("../elsewhere", "linked"),
            ("../data", "../elsewhere/back"),
            ("../3.csv", "3.csv"),
            ("nowhere", "gone.csv"),
            ("nowhere", ".hidden.csv"),
            ("nowhere", "gone"),
        ] {
            symlink(target, data.join(link)).unwrap();
        }
        for recursive in [true, false] {
            let files = files_of(&data, recursive).unwrap();
            let files: Vec<_> = files.iter().map(|file| file.strip_prefix(&data).unwrap().to_str().unwrap()).collect();
            let expected = &["3.csv", "a/1.csv", "gone.csv", "linked/2.csv"][..];
            assert_eq!(files, if recursive { expected } else { &["3.csv", "gone.csv"] });
        }
    }

    // Sabotage: take a link that leads back for an error, or follow no link at all.
    #[cfg(unix)]
    #[test]
    fn a_pattern_ends_in_links_that_lead_back_and_finds_each_file_once() {
        use std::os::unix::fs::symlink;

        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("a/b")).unwrap();
        for name in ["a/1.csv", "a/b/2.csv", "a/b/.3.csv"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        symlink("..", dir.path().join("a/b/up")).unwrap();
        symlink(".", dir.path().join("a/self")).unwrap();
        symlink("nowhere", dir.path().join("a/gone")).unwrap();
        for (pattern, expected) in [
            ("a/**/*.csv", &["a/1.csv", "a/b/2.csv"][..]),
            ("**/*.csv", &["a/1.csv", "a/b/2.csv"]),
            ("**/b/**/*.csv", &["a/b/2.csv"]),
            ("a/self/**/2*", &["a/self/b/2.csv"]),
            ("a/**/b/*.csv", &["a/b/2.csv"]),
        ] {
            let files = files_of(&dir.path().join(pattern), true).unwrap();
            let files: Vec<&Path> = files.iter().map(|file| file.strip_prefix(dir.path()).unwrap()).collect();
            assert_eq!(files, expected.iter().map(Path::new).collect::<Vec<_>>(), "{pattern}");
        }
        symlink("a", dir.path().join("link")).unwrap();
        assert_eq!(files_of(&dir.path().join("l*/*.csv"), true).unwrap(), [dir.path().join("link/1.csv")]);
        for pattern in ["a/**", "a/**/3.csv", "a/**/*.tsv"] {
            assert!(matches!(files_of(&dir.path().join(pattern), true), Err(NoInput::Unmatched)), "{pattern}");
        }
    }

    // Sabotage: read a file as often as it is named, or in its first place: then others take back what it corrects.
    #[cfg(unix)]
    #[test]
    fn a_file_that_is_named_twice_is_read_once_in_its_last_place() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("data")).unwrap();
        for name in ["data/a.csv", "data/b.csv"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        std::os::unix::fs::symlink("a.csv", dir.path().join("data/c.csv")).unwrap();
        std::os::unix::fs::symlink("data", dir.path().join("link")).unwrap();
        for (words, expected) in [
            (&["data", "data/a.csv"][..], &["data/b.csv", "data/c.csv", "data/a.csv"][..]),
            (&["data/a.csv", "data/../data/a.csv"], &["data/../data/a.csv"]),
            (&["data/b.csv", "link/*"], &["link/a.csv", "link/b.csv", "link/c.csv"]),
            (&["gone.csv", "gone.csv"], &["gone.csv", "gone.csv"]),
        ] {
            let words: Vec<PathBuf> = words.iter().map(|word| dir.path().join(word)).collect();
            let (inputs, missing) = expand(&words, true);
            assert!(missing.is_empty());
            let expected: Vec<PathBuf> = expected.iter().map(|file| dir.path().join(file)).collect();
            assert_eq!(inputs.iter().map(|input| input.path.clone()).collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn a_word_that_stands_for_nothing_is_an_error() {
        for (word, expected) in [
            ("*.parquet", "expected a pattern that matches a file, got one that matches none"),
            ("em*", "expected a pattern that matches a file, got one that matches none"),
            ("a[.csv", "expected a pattern, got one that is broken: "),
            ("empty", "expected a directory with files that end in .csv, .tsv, "),
        ] {
            let error = expanded(word).unwrap_err();
            assert!(error.starts_with(expected), "{word}: {error}");
        }
    }

    #[test]
    fn the_endings_of_bars_count_in_any_case_and_packed() {
        for (name, known) in [
            ("a.csv", true),
            ("a.CSV.GZ", true),
            ("a.ndjson.zst", true),
            ("a.zip", true),
            ("a.csv.bak", false),
            ("a.gz", false),
            ("csv", false),
            ("a.parquet", false),
        ] {
            assert_eq!(has_known_ending(OsStr::new(name)), known, "{name}");
        }
    }
}
