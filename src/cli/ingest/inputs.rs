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
/// Of a directory it takes the files in it, not those in directories below, if they are not hidden and their names end
/// as bars usually do; what it leaves out is named in the log.
pub fn expand(words: &[PathBuf]) -> (Vec<Input>, Vec<(PathBuf, NoInput)>) {
    let (mut inputs, mut missing) = (Vec::new(), Vec::new());
    for word in words {
        match files_of(word) {
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

fn files_of(word: &Path) -> Result<Vec<PathBuf>, NoInput> {
    if word.is_dir() {
        return files_in(word);
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
    files.sort_by(|a, b| a.as_os_str().cmp(b.as_os_str()));
    Ok(files)
}

fn matcher(pattern: &str) -> Result<GlobMatcher, globset::Error> {
    let glob = GlobBuilder::new(pattern).literal_separator(true).backslash_escape(false).build()?;
    Ok(glob.compile_matcher())
}

fn files_in(directory: &Path) -> Result<Vec<PathBuf>, NoInput> {
    let (mut files, mut left_out) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        let path = directory.join(&name);
        if is_hidden(&name) || path.is_dir() {
            continue;
        }
        if has_known_ending(&name) {
            files.push(path)
        } else {
            left_out.push(name)
        };
    }
    left_out.sort();
    if let Some(first) = left_out.first() {
        let (directory, first) = (directory.to_string_lossy(), first.to_string_lossy());
        let (directory, first) = (Shown(&directory), Shown(&first));
        tracing::warn!(%directory, files = left_out.len(), %first, "files were left out whose names end in nothing known");
    }
    if files.is_empty() {
        return Err(NoInput::Empty);
    }
    files.sort_by(|a, b| a.as_os_str().cmp(b.as_os_str()));
    Ok(files)
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
        let files = files_of(&dir.path().join(word)).map_err(|error| error.to_string())?;
        let relative = |path: &PathBuf| path.strip_prefix(dir.path()).unwrap().to_str().unwrap().to_owned();
        Ok(files.iter().map(relative).collect())
    }

    // Red if the order is the file system's, hidden files or directories are taken, or a name is taken for a pattern.
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
            ("", &["a.csv", "a10.csv", "a2.CSV", "b.csv", "c.json.gz", "x1.csv", "x[1].csv"]),
            ("gone.csv", &["gone.csv"]),
        ] {
            assert_eq!(expanded(word).unwrap(), expected, "{word}");
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
            let files = files_of(&dir.path().join(pattern)).unwrap();
            let files: Vec<&Path> = files.iter().map(|file| file.strip_prefix(dir.path()).unwrap()).collect();
            assert_eq!(files, expected.iter().map(Path::new).collect::<Vec<_>>(), "{pattern}");
        }
        symlink("a", dir.path().join("link")).unwrap();
        assert_eq!(files_of(&dir.path().join("l*/*.csv")).unwrap(), [dir.path().join("link/1.csv")]);
        for pattern in ["a/**", "a/**/3.csv", "a/**/*.tsv"] {
            assert!(matches!(files_of(&dir.path().join(pattern)), Err(NoInput::Unmatched)), "{pattern}");
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
            let (inputs, missing) = expand(&words);
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
