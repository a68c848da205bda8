//! Which part may import which: the rules that keep decisions pure and parts apart, and that no two parts import each
//! other. Found by reading the sources, as far as a search can hold them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// A module by its path: `["feedback", "bus", "lanes"]`. The root is empty.
type Module = Vec<String>;

/// Every module of src, and its code without comments and tests.
struct Sources(BTreeMap<Module, String>);

impl Sources {
    fn read() -> Self {
        let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut sources = BTreeMap::new();
        for path in rust_files(&src) {
            let mut module: Module = path
                .strip_prefix(&src)
                .unwrap()
                .with_extension("")
                .iter()
                .map(|part| part.to_str().unwrap().to_owned())
                .collect();
            let is_test = module.iter().any(|part| part == "tests" || part.ends_with("_tests"));
            match module.last().map(String::as_str) {
                Some("mod") => _ = module.pop(),
                Some("lib") if module.len() == 1 => module.clear(),
                // The root of another crate, which has one module.
                Some("main") if module.len() == 1 => continue,
                _ => {}
            }
            if !is_test {
                sources.insert(module, code(&path));
            }
        }
        assert!(sources.len() > 100, "only {} modules were found", sources.len());
        Self(sources)
    }

    /// Returns the modules that one imports from, as it names them: each file that holds what is named.
    fn imports(&self, module: &Module) -> BTreeSet<Module> {
        let mut found = BTreeSet::new();
        for path in named_paths(&self.0[module]) {
            if let Some(target) = self.resolve(module, &path) {
                found.insert(target);
            }
        }
        found.remove(module);
        found
    }

    /// Returns the file that holds what a path names; none for what is not of this crate.
    fn resolve(&self, from: &Module, path: &[String]) -> Option<Module> {
        let (mut at, mut rest) = match path.first()?.as_str() {
            "crate" => (Module::new(), &path[1..]),
            "self" => (from.clone(), &path[1..]),
            "super" => (from[..from.len().checked_sub(1)?].to_vec(), &path[1..]),
            _ => return None,
        };
        while rest.first().is_some_and(|part| part == "super") {
            at.pop()?;
            rest = &rest[1..];
        }
        // At most as many steps as there are re-exports of re-exports.
        for _ in 0..8 {
            while let Some(part) = rest.first() {
                let inner = [at.as_slice(), std::slice::from_ref(part)].concat();
                if !self.0.contains_key(&inner) {
                    break;
                }
                (at, rest) = (inner, &rest[1..]);
            }
            // What a module re-exports lies where it takes it from.
            let Some(name) = rest.first() else { return Some(at) };
            let exported = named_paths(&self.0[&at]).into_iter().find(|path| path.last() == Some(name));
            match exported {
                Some(path) if path.len() > 1 && path[0] == "self" => {
                    let target = self.resolve_module(&at, &path[1..path.len() - 1]);
                    if target == at {
                        return Some(at);
                    }
                    at = target;
                }
                _ => return Some(at),
            }
        }
        Some(at)
    }

    fn resolve_module(&self, from: &Module, path: &[String]) -> Module {
        let mut at = from.clone();
        for part in path {
            let inner = [at.as_slice(), std::slice::from_ref(part)].concat();
            if !self.0.contains_key(&inner) {
                break;
            }
            at = inner;
        }
        at
    }
}

fn rust_files(path: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

/// A file's code without comments and without its tests, which stand last.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    // A module of tests in the file itself stands last; one in a file of its own is no code here, wherever it is named.
    let end = text.find("#[cfg(test)]\nmod tests {").or_else(|| text.find("\nmod tests {")).unwrap_or(text.len());
    let lines = text[..end].lines().map(|line| line.split("//").next().unwrap_or_default());
    lines.collect::<Vec<_>>().join("\n")
}

/// Every path of this crate that some code names, trees of `use` taken apart: `crate::a::X`, `super::b`, `self::c::Y`.
fn named_paths(code: &str) -> Vec<Vec<String>> {
    let mut paths = Vec::new();
    let is_name = |letter: char| letter.is_alphanumeric() || letter == '_';
    for root in ["crate", "self", "super"] {
        let start = format!("{root}::");
        let mut from = 0;
        while let Some(at) = code[from..].find(&start) {
            let at = from + at;
            from = at + start.len();
            // `r#self::`, `my_crate::`, or further on in a path such as `super::super::a`.
            if code[..at].ends_with(|letter: char| is_name(letter) || letter == ':') {
                continue;
            }
            tree(&code[at..], &mut Vec::new(), &mut paths);
        }
    }
    paths
}

/// Takes one tree of paths apart, and returns how long it is.
fn tree(text: &str, before: &mut Vec<String>, paths: &mut Vec<Vec<String>>) -> usize {
    let is_name = |letter: char| letter.is_alphanumeric() || letter == '_';
    let mut at = text.len() - text.trim_start().len();
    let depth = before.len();
    loop {
        let rest = &text[at..];
        let name: String = rest.chars().take_while(|&letter| is_name(letter)).collect();
        if !name.is_empty() {
            at += name.len();
            // `self` in a tree is what stands before it.
            if name == "self" && !before.is_empty() {
                paths.push(before.clone());
                return at;
            }
            before.push(name);
            if text[at..].starts_with("::") {
                at += 2;
                continue;
            }
        } else if rest.starts_with('{') {
            at += 1;
            loop {
                at += tree(&text[at..], before, paths);
                let gap = text[at..].len() - text[at..].trim_start().len();
                at += gap;
                match text[at..].chars().next() {
                    Some(',') => at += 1,
                    Some('}') => {
                        at += 1;
                        break;
                    }
                    // `a as b`: the rest of it, up to the next comma.
                    Some(_) => at += text[at..].find([',', '}']).unwrap_or(text.len() - at),
                    None => break,
                }
                let gap = text[at..].len() - text[at..].trim_start().len();
                if text[at + gap..].starts_with('}') {
                    at += gap + 1;
                    break;
                }
            }
            before.truncate(depth);
            return at;
        }
        break;
    }
    if before.len() > depth || depth == 0 {
        paths.push(before.clone());
    }
    before.truncate(depth);
    at
}

/// Returns a circle in a graph, if there is one.
fn circle<N: Clone + Ord>(edges: &BTreeMap<N, BTreeSet<N>>) -> Option<Vec<N>> {
    fn visit<N: Clone + Ord>(
        node: &N,
        edges: &BTreeMap<N, BTreeSet<N>>,
        path: &mut Vec<N>,
        done: &mut BTreeSet<N>,
    ) -> Option<Vec<N>> {
        if let Some(start) = path.iter().position(|earlier| earlier == node) {
            return Some(path[start..].to_vec());
        }
        if !done.contains(node) {
            path.push(node.clone());
            for next in edges.get(node).into_iter().flatten() {
                if let Some(found) = visit(next, edges, path, done) {
                    return Some(found);
                }
            }
            path.pop();
            done.insert(node.clone());
        }
        None
    }
    let mut done = BTreeSet::new();
    edges.keys().find_map(|node| visit(node, edges, &mut Vec::new(), &mut done))
}

/// The imports between the parts of one folder, each part a file or a folder of it.
fn imports_within(sources: &Sources, folder: &[String]) -> BTreeMap<String, BTreeSet<String>> {
    let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for module in sources.0.keys().filter(|module| module.len() > folder.len() && module.starts_with(folder)) {
        let part = &module[folder.len()];
        for target in sources.imports(module) {
            if target.len() > folder.len() && target.starts_with(folder) && target[folder.len()] != *part {
                edges.entry(part.clone()).or_default().insert(target[folder.len()].clone());
            }
        }
    }
    edges
}

/// Red when two folders of src import each other, or two files of one folder, by whatever way round. A module and its
/// own children may.
#[test]
fn no_parts_import_each_other() {
    let sources = Sources::read();
    let folders: BTreeSet<Module> =
        sources.0.keys().filter(|module| !module.is_empty()).map(|m| m[..m.len() - 1].to_vec()).collect();
    let mut circles = Vec::new();
    for folder in folders {
        if let Some(circle) = circle(&imports_within(&sources, &folder)) {
            circles.push(format!("src/{}: {}", folder.join("/"), circle.join(" -> ")));
        }
    }
    assert_eq!(circles, Vec::<String>::new());
}

/// Red when a part names one that it must not know, such as `crate::settings` in src/coordinator.
#[test]
fn each_part_imports_only_those_it_may() {
    // From the bottom up. `metrics` are names, `text` shows values and errors, `fault` is for tests, `own_system`
    // starts threads.
    let allowed: [(&str, &[&str]); 14] = [
        ("fault", &[]),
        ("metrics", &[]),
        ("own_system", &[]),
        ("text", &[]),
        ("policy", &[]),
        ("record", &["policy", "text"]),
        ("settings", &["policy", "text"]),
        ("dead_letter", &["policy", "record", "text"]),
        ("sink", &["metrics", "record", "text"]),
        // The coordinator and the bus meet in an event and in the outbox that carries it: see below.
        ("feedback", &["fault", "metrics", "own_system", "policy", "record", "settings", "text"]),
        (
            "coordinator",
            &["dead_letter", "fault", "feedback", "metrics", "own_system", "policy", "record", "sink", "text"],
        ),
        ("files", &["policy", "record", "text"]),
        (
            "http",
            &[
                "coordinator",
                "dead_letter",
                "feedback",
                "files",
                "metrics",
                "own_system",
                "policy",
                "record",
                "settings",
                "sink",
                "store",
                "text",
            ],
        ),
        (
            "store",
            &[
                "coordinator",
                "dead_letter",
                "fault",
                "feedback",
                "own_system",
                "policy",
                "record",
                "settings",
                "sink",
                "text",
            ],
        ),
    ];
    let sources = Sources::read();
    let edges = imports_within(&sources, &[]);
    let allowed: BTreeMap<_, _> = allowed.into_iter().collect();
    let free = ["testing", "cli"];
    for part in sources.0.keys().filter_map(|module| module.first()) {
        assert!(allowed.contains_key(part.as_str()) || free.contains(&part.as_str()), "src/{part} is in no rule");
    }
    for (part, targets) in &edges {
        let Some(allowed) = allowed.get(part.as_str()) else { continue };
        for target in targets {
            assert!(allowed.contains(&target.as_str()), "src/{part} imports src/{target}");
        }
    }
    let seen: usize = edges.values().map(BTreeSet::len).sum();
    assert!(seen > 30, "only {seen} imports were found: does the search still see them?");
}

/// Red when the coordinator knows more of feedback than the event, the outbox and what is counted, or feedback anything
/// of it.
#[test]
fn the_coordinator_does_not_know_the_bus() {
    let sources = Sources::read();
    let mut seen = BTreeSet::new();
    for module in sources.0.keys().filter(|module| module.first().is_some_and(|part| part == "coordinator")) {
        for target in
            sources.imports(module).into_iter().filter(|target| target.first().is_some_and(|part| part == "feedback"))
        {
            seen.insert(target.join("/"));
        }
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["feedback/bus/publisher", "feedback/counts", "feedback/event"]);
}

/// Red when the binary reaches into the library: it uses the public API alone.
#[test]
fn the_command_line_uses_the_public_api_alone() {
    let sources = Sources::read();
    for module in sources.0.keys().filter(|module| module.first().is_some_and(|part| part == "cli")) {
        for path in named_paths(&sources.0[module]).iter().filter(|path| path[0] == "crate") {
            assert_eq!(path.get(1).map(String::as_str), Some("cli"), "{}: {}", module.join("/"), path.join("::"));
        }
    }
}

/// Red when any file of src/policy, a comment of it too, names a framework, a runtime or a clock.
#[test]
fn decisions_know_no_runtime_and_no_clock() {
    for path in rust_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/policy")) {
        let text = fs::read_to_string(&path).unwrap();
        for word in ["actix", "tokio", "Instant::now", "SystemTime::now", "std::thread", "std::fs"] {
            let line = text.lines().position(|line| line.contains(word));
            assert_eq!(line, None, "{} names {word} (lines counted from 0)", path.display());
        }
    }
}

/// The search itself: a rule that sees nothing always holds.
#[test]
fn the_search_sees_every_form_of_an_import() {
    let code = "use crate::{\n    a::{x, self, y as z},\n    b,\n};\nuse super::c::Z; pub use self::d::{E};\n\
                fn f(_: crate::g::W) -> super::super::h::V {}";
    let mut seen: Vec<_> = named_paths(code).into_iter().map(|path| path.join("::")).collect();
    seen.sort_unstable();
    let expected = [
        "crate::a",
        "crate::a::x",
        "crate::a::y",
        "crate::b",
        "crate::g::W",
        "self::d::E",
        "super::c::Z",
        "super::super::h::V",
    ];
    assert_eq!(seen.iter().filter(|path| expected.contains(&path.as_str())).count(), expected.len(), "{seen:?}");

    let sources = Sources(
        [
            ("", "pub use self::a::Thing;"),
            ("a", "mod one; mod two; pub use self::one::Thing; pub use self::two::Other;"),
            ("a/one", "use super::two::Deep;"),
            ("a/two", "use super::Thing;"),
            ("b", "use crate::Thing;"),
        ]
        .map(|(module, code)| {
            (module.split('/').filter(|part| !part.is_empty()).map(ToOwned::to_owned).collect(), code.to_owned())
        })
        .into(),
    );
    let circle = circle(&imports_within(&sources, &["a".to_owned()]));
    assert_eq!(circle, Some(vec!["one".to_owned(), "two".to_owned()]), "also by way of what the module re-exports");
    assert_eq!(imports_within(&sources, &[])["b"], BTreeSet::from(["a".to_owned()]));
}
