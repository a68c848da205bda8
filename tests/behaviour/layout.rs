//! Who may know whom: the rules that keep decisions pure and parts apart, as far as a search can hold them.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Every Rust file in or below `part` of src, or the file of that name.
fn files(part: &str) -> Vec<PathBuf> {
    fn collect(path: &Path, files: &mut Vec<PathBuf>) {
        if path.is_dir() {
            fs::read_dir(path).unwrap().for_each(|entry| collect(&entry.unwrap().path(), files));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path.to_owned());
        }
    }
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    for path in [src.join(part), src.join(format!("{part}.rs"))] {
        if path.exists() {
            collect(&path, &mut found);
        }
    }
    assert!(!found.is_empty(), "src has no {part}");
    found
}

/// A file's code without comments and without its tests, which stand last.
fn code(path: &Path) -> String {
    if path.ends_with("tests.rs") {
        return String::new();
    }
    let text = fs::read_to_string(path).unwrap();
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    let lines = code.lines().map(|line| line.split("//").next().unwrap_or_default());
    lines.collect::<Vec<_>>().join("\n")
}

/// The modules of this crate that some code names: `a` and `b` in `crate::a::X`, `use crate::{a, b::{c, d}}`.
fn named_modules(code: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for path in code.split("crate::").skip(1) {
        let Some(group) = path.strip_prefix('{') else {
            names.extend(first_name(path));
            continue;
        };
        let mut depth = 0;
        let mut start = 0;
        for (at, letter) in group.char_indices() {
            match letter {
                '{' => depth += 1,
                ',' | '}' if depth == 0 => {
                    names.extend(first_name(&group[start..at]));
                    start = at + 1;
                    if letter == '}' {
                        break;
                    }
                }
                '}' => depth -= 1,
                _ => {}
            }
        }
    }
    names
}

fn first_name(path: &str) -> Option<String> {
    let name: String =
        path.trim_start().chars().take_while(|&letter| letter.is_alphanumeric() || letter == '_').collect();
    (!name.is_empty()).then_some(name)
}

/// Red when any file of src/policy, a comment of it too, names a framework, a runtime or a clock.
#[test]
fn decisions_know_no_runtime_and_no_clock() {
    for path in files("policy") {
        let text = fs::read_to_string(&path).unwrap();
        for word in ["actix", "tokio", "Instant::now", "SystemTime::now"] {
            let line = text.lines().position(|line| line.contains(word));
            assert_eq!(line, None, "{} names {word} (lines counted from 0)", path.display());
        }
    }
}

/// Red when a part names one that it must not know, such as `crate::settings` in src/coordinator.
#[test]
fn each_part_names_only_those_it_may_know() {
    // `metrics` are names, `text` shows values and errors, `fault` is for tests: leaves.
    let allowed: [(&str, &[&str]); 11] = [
        ("policy", &["policy"]),
        ("text", &[]),
        ("fault", &[]),
        ("metrics", &[]),
        ("record", &["policy", "record", "text"]),
        ("settings", &["settings", "policy", "text"]),
        ("dead_letter", &["dead_letter", "policy", "text", "record"]),
        ("sink", &["sink", "record", "text", "metrics"]),
        ("own_system", &[]),
        ("feedback", &["feedback", "own_system", "settings", "fault", "policy", "metrics", "record"]),
        (
            "coordinator",
            &["coordinator", "dead_letter", "fault", "text", "policy", "record", "sink", "feedback", "metrics"],
        ),
    ];
    let reexports = ["Bar", "Batch", "Timeframe", "Timestamp", "Invalid", "Record", "Sink", "SinkError", "BoxSink"];
    let mut seen = 0;
    for (part, allowed) in allowed {
        for path in files(part) {
            for name in named_modules(&code(&path)).iter().filter(|name| !reexports.contains(&name.as_str())) {
                seen += 1;
                assert!(allowed.contains(&name.as_str()), "{} names crate::{name}", path.display());
            }
        }
    }
    assert!(seen > 30, "only {seen} names were found: does the search still see them?");
}

/// Red when the coordinator names the bus or a part of it: the two meet in an event and in the outbox that carries it.
#[test]
fn the_coordinator_does_not_know_the_bus() {
    for path in files("coordinator") {
        let code = code(&path);
        for word in ["FeedbackBus", "feedback_bus", "Subscribe", "feedback::bus", "feedback::handle", "feedback::lanes"]
        {
            assert!(!code.contains(word), "{} names {word}", path.display());
        }
        let front =
            code.split(|letter: char| !letter.is_alphanumeric() && letter != '_').any(|word| word == "Feedback");
        assert!(!front, "{} names the front of the bus", path.display());
    }
}

/// Red when anything under the store names it or the command line.
#[test]
fn nothing_below_the_store_knows_it() {
    let below = ["policy", "record", "sink", "settings", "feedback", "coordinator", "metrics", "text"];
    for path in below.into_iter().flat_map(files) {
        let names = named_modules(&code(&path));
        for above in ["store", "cli", "service", "MarketDataStore", "Coordinator", "Builder"] {
            assert!(!names.contains(above), "{} names crate::{above}", path.display());
        }
    }
    for path in files("store") {
        assert!(!named_modules(&code(&path)).contains("cli"), "{} names the command line", path.display());
    }
}

/// The search itself: a rule that sees nothing would hold for ever.
#[test]
fn the_search_sees_every_form_of_an_import() {
    let code =
        "use crate::{\n    a::{x, y},\n    b,\n    metrics as names,\n};\nuse crate::c::Z; fn f(_: crate::d::W) {}";
    let names: Vec<_> = named_modules(code).into_iter().collect();
    assert_eq!(names, ["a", "b", "c", "d", "metrics"]);
}
