//! What the project stands on: licences that its users can live with, and versions without known holes.

use std::{collections::BTreeSet, process::Command};

/// The least version of a crate within one of its release lines.
const FLOORS: [(&str, [u64; 3]); 7] = [
    ("actix-http", [3, 12, 1]),
    // awc and actix-http have not left this line; what 0.4 mends since does not concern it.
    ("h2", [0, 3, 27]),
    ("h2", [0, 4, 16]),
    ("tokio-postgres", [0, 7, 18]),
    ("rustls-webpki", [0, 103, 13]),
    ("bytes", [1, 11, 1]),
    ("tracing-subscriber", [0, 3, 20]),
];

struct Package {
    name: String,
    version: [u64; 3],
    licence: String,
}

/// What this machine builds. The packages for other platforms are not at hand on a machine that has only built, and a
/// test should need no network.
fn packages() -> Vec<Package> {
    let about = Command::new("rustc").arg("-vV").output().unwrap();
    let about = String::from_utf8(about.stdout).unwrap();
    let host = about.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--offline", "--locked", "--format-version", "1", "--all-features"])
        .args(["--filter-platform", host])
        .args(["--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages: Vec<Package> = metadata["packages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|package| Package {
            name: package["name"].as_str().unwrap().to_owned(),
            version: version(package["version"].as_str().unwrap()),
            licence: package["license"].as_str().unwrap_or("none").to_owned(),
        })
        .collect();
    assert!(packages.len() > 100, "only {} packages: is this the whole tree?", packages.len());
    packages
}

fn version(text: &str) -> [u64; 3] {
    let numbers = text.split(['-', '+']).next().unwrap();
    let mut parts = numbers.split('.').map(|part| part.parse().unwrap());
    std::array::from_fn(|_| parts.next().unwrap())
}

/// The licences that deny.toml allows: one list for both.
fn allowed() -> BTreeSet<String> {
    let deny = include_str!("../../deny.toml");
    let list = deny.split_once("allow = [").unwrap().1.split_once(']').unwrap().0;
    list.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Whether a licence expression can be met with allowed licences only.
fn is_met(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ").replace(" WITH ", "+WITH+");
    let mut words = spaced.split_whitespace().peekable();
    let met = any(&mut words, allowed);
    assert!(words.next().is_none(), "not a licence expression: {expression}");
    met
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn any(words: &mut Words<'_>, allowed: &BTreeSet<String>) -> bool {
    let mut met = all(words, allowed);
    while words.next_if_eq(&"OR").is_some() {
        met |= all(words, allowed);
    }
    met
}

fn all(words: &mut Words<'_>, allowed: &BTreeSet<String>) -> bool {
    let mut met = one(words, allowed);
    while words.next_if_eq(&"AND").is_some() {
        met &= one(words, allowed);
    }
    met
}

fn one(words: &mut Words<'_>, allowed: &BTreeSet<String>) -> bool {
    match words.next() {
        Some("(") => {
            let met = any(words, allowed);
            assert_eq!(words.next(), Some(")"));
            met
        }
        Some(licence) => allowed.contains(licence),
        None => false,
    }
}

#[test]
fn every_dependency_can_be_used_under_an_allowed_licence() {
    // Red if MIT is taken off the list, or a crate under another licence comes in.
    let allowed = allowed();
    let refused: Vec<String> = packages()
        .iter()
        .filter(|package| !is_met(&package.licence, &allowed))
        .map(|package| format!("{}: {}", package.name, package.licence))
        .collect();
    assert_eq!(refused, [""; 0]);
}

#[test]
fn a_licence_expression_is_understood() {
    let allowed = ["MIT", "Unicode-3.0"].map(str::to_owned).into();
    for (expression, met) in [
        ("MIT", true),
        ("GPL-3.0-only", false),
        ("GPL-3.0-only OR MIT", true),
        ("GPL-3.0-only/MIT", true),
        ("MIT AND GPL-3.0-only", false),
        ("(MIT OR Apache-2.0) AND Unicode-3.0", true),
        ("(MIT OR Apache-2.0) AND BSD-3-Clause", false),
        ("Apache-2.0 WITH LLVM-exception OR Apache-2.0", false),
        ("none", false),
    ] {
        assert_eq!(is_met(expression, &allowed), met, "{expression}");
    }
}

#[test]
fn no_dependency_is_older_than_its_floor() {
    // Red if a floor is raised above what is locked.
    let packages = packages();
    let line = |version: [u64; 3]| if version[0] > 0 { [version[0], 0] } else { [0, version[1]] };
    let mut held = 0;
    for package in &packages {
        let floors: Vec<_> = FLOORS.iter().filter(|(name, _)| *name == package.name).collect();
        if floors.is_empty() {
            continue;
        }
        let known = floors.iter().any(|(_, floor)| line(*floor) == line(package.version) && package.version >= *floor);
        let newer = floors.iter().all(|(_, floor)| line(package.version) > line(*floor));
        assert!(known || newer, "{} {:?} is below its floor", package.name, package.version);
        held += 1;
    }
    assert!(held >= 4, "only {held} of the crates with a floor were found");
}
