//! What a stranger reads: it is short, its links lead somewhere, and its Rust is compiled.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(page: &str) -> String {
    fs::read_to_string(root().join(page)).unwrap_or_else(|error| panic!("{page}: {error}"))
}

/// The pages at the root and in docs/, named from the root.
fn pages() -> Vec<String> {
    let mut found = Vec::new();
    for (directory, prefix) in [("", ""), ("docs", "docs/")] {
        for entry in fs::read_dir(root().join(directory)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if name.ends_with(".md") {
                found.push(format!("{prefix}{name}"));
            }
        }
    }
    found.sort();
    found
}

/// A page without its code blocks, which may hold brackets that are no links.
fn prose(page: &str) -> String {
    let mut in_code = false;
    let mut prose = String::new();
    for line in read(page).lines() {
        if line.starts_with("```") {
            in_code = !in_code;
        } else if !in_code {
            prose.push_str(line);
            prose.push('\n');
        }
    }
    prose
}

/// The targets of the links of a page that lead to a file or a heading of this project.
fn links(page: &str) -> Vec<String> {
    let prose = prose(page);
    let targets = prose.split("](").skip(1).map(|rest| rest.split(')').next().unwrap_or_default().to_owned());
    targets.filter(|target| !target.contains("://")).collect()
}

/// What a heading is called in a link, as GitHub makes it.
fn anchors(page: &str) -> BTreeSet<String> {
    let anchor = |heading: &str| -> String {
        let kept = heading.chars().filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter));
        kept.map(|letter| if letter == ' ' { '-' } else { letter.to_ascii_lowercase() }).collect()
    };
    let prose = prose(page);
    prose
        .lines()
        .filter_map(|line| line.trim_start_matches('#').strip_prefix(' ').filter(|_| line.starts_with('#')))
        .map(anchor)
        .collect()
}

/// Splits a link of a page into the file that it leads to, named from the root, and the heading.
fn resolve(page: &str, link: &str) -> (String, Option<String>) {
    let (path, heading) = match link.split_once('#') {
        Some((path, heading)) => (path, Some(heading.to_owned())),
        None => (link, None),
    };
    if path.is_empty() {
        return (page.to_owned(), heading);
    }
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in path.split('/') {
        match part {
            ".." => assert!(parts.pop().is_some(), "{page}: {link} leads out of the project"),
            "." => {}
            part => parts.push(part),
        }
    }
    (parts.join("/"), heading)
}

/// Red when a file or a heading that a page links to is renamed or removed.
#[test]
fn every_relative_link_leads_to_a_file_and_a_heading() {
    let mut seen = 0;
    for page in pages() {
        for link in links(&page) {
            let (target, heading) = resolve(&page, &link);
            assert!(root().join(&target).exists(), "{page} links to {link}, and there is no {target}");
            if let Some(heading) = heading {
                assert!(
                    anchors(&target).contains(&heading),
                    "{page} links to {link}, and {target} has no such heading"
                );
            }
            seen += 1;
        }
    }
    assert!(seen > 40, "only {seen} links were found: does the search still see them?");
}

/// Red when a page is added and nothing leads to it.
#[test]
fn every_page_is_reached_from_the_readme() {
    let mut reached = BTreeSet::from(["README.md".to_owned()]);
    let mut left = vec!["README.md".to_owned()];
    while let Some(page) = left.pop() {
        for link in links(&page) {
            let (target, _) = resolve(&page, &link);
            if target.ends_with(".md") && reached.insert(target.clone()) {
                left.push(target);
            }
        }
    }
    for page in pages() {
        assert!(reached.contains(&page), "nothing leads from README.md to {page}");
    }
}

/// Red when either grows beyond what a stranger reads at once.
#[test]
fn the_readme_and_the_architecture_stay_short() {
    for page in ["README.md", "ARCHITECTURE.md"] {
        let lines = read(page).lines().count();
        assert!(lines <= 250, "{page} has {lines} lines, at most 250 are wanted: a page in docs/ takes the rest");
    }
}

/// Red when a page has Rust that the doctests of src/lib.rs do not compile, or a block whose language is not named,
/// which rustdoc would take for Rust.
#[test]
fn the_rust_of_every_page_is_compiled() {
    let lib = read("src/lib.rs");
    for page in pages() {
        let mut opens = true;
        let mut has_rust = false;
        for line in read(&page).lines().filter(|line| line.trim_start().starts_with("```")) {
            if opens {
                let language = line.trim_start().trim_start_matches('`');
                assert!(!language.is_empty(), "{page} has a code block without a language");
                assert!(!language.contains("ignore"), "{page} has Rust that is not compiled");
                has_rust |= language.starts_with("rust");
            }
            opens = !opens;
        }
        let is_compiled = lib.contains(&format!("\"../{page}\""));
        assert!(!has_rust || is_compiled, "src/lib.rs does not compile the Rust of {page}");
    }
}

/// Red when the README's two commands of the set-up are not those that CI runs.
#[test]
fn ci_runs_the_two_commands_of_the_readme() {
    let readme = read("README.md");
    let first = readme.lines().find(|line| line.starts_with("cargo run ") && line.contains("ingest"));
    assert!(first.is_some(), "README.md has no line that begins with cargo run and ingests a file");
    assert!(readme.lines().any(|line| line == "tests/run.sh"), "README.md has no line tests/run.sh");
    // The packaged crate has no .ci.
    let ci: PathBuf = root().join(".ci/run");
    if ci.exists() {
        let ci = fs::read_to_string(ci).unwrap();
        assert!(ci.lines().any(|line| line.starts_with("step ") && line.ends_with(" tests/run.sh")));
        assert!(ci.contains("'^cargo run .*ingest' README.md"));
    }
}
