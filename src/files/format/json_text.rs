//! The words of a jq filter.

use crate::files::columns::{ColumnMap, Role};
use crate::record::Timeframe;

/// Returns the path of a field: `.bars`, or `.["price bars"]`; none for a name that cannot stand between quotes in a
/// shell.
pub(super) fn path(name: &str) -> Option<String> {
    if is_identifier(name) {
        return Some(format!(".{name}"));
    }
    is_quotable(name).then(|| format!(".[\"{name}\"]"))
}

/// Returns a name as it stands in front of a colon.
pub(super) fn name_of(name: &str) -> Option<String> {
    const KEYWORDS: [&str; 4] = ["as", "end", "if", "or"];
    if is_identifier(name) && !KEYWORDS.contains(&name) {
        return Some(name.into());
    }
    is_quotable(name).then(|| format!("\"{name}\""))
}

fn is_identifier(name: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    name.bytes().all(is_part) && name.starts_with(|first: char| !first.is_ascii_digit())
}

fn is_quotable(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 60
        && name.chars().all(|letter| letter.is_alphanumeric() || " _()[]{}-+.,:;/&#%*^=<>|~@$?!".contains(letter))
}

/// Puts a filter behind a path.
pub(super) fn under(path: &str, filter: &str) -> String {
    if filter == "." {
        return path.into();
    }
    if path == "." {
        return filter.into();
    }
    // Where there is nothing, jq would stop at it, and what follows would be lost.
    if ["to_entries", "with_entries"].iter().any(|first| filter.starts_with(first)) && !path.ends_with("objects") {
        return format!("{path} | objects | {filter}");
    }
    // Only where both are paths do they make one: what is added to a path, or kept as `$x`, is of what stands around.
    let is_path = |text: &str| text.starts_with('.') && first_stage(text) == text;
    let begins_with_path =
        first_stage(filter).starts_with('.') && filter[first_stage(filter).len()..].starts_with(" | ");
    if !is_path(path) || !(is_path(filter) || begins_with_path) {
        return format!("{path} | {filter}");
    }
    match filter.strip_prefix('.') {
        Some(rest) if rest.starts_with("[]") && !rest.starts_with("[]?") => format!("{path}[]?{}", &rest[2..]),
        Some(rest) if rest.starts_with('[') => format!("{path}{rest}"),
        _ => format!("{path}{filter}"),
    }
}

/// Returns a filter up to its first blank outside of quotes.
fn first_stage(filter: &str) -> &str {
    let mut is_quoted = false;
    let end = filter.find(|letter: char| {
        is_quoted ^= letter == '"';
        letter == ' ' && !is_quoted
    });
    &filter[..end.unwrap_or(filter.len())]
}

/// Adds what stands around the rows to each.
pub(super) fn with(carried: &[(&str, String)], filter: &str) -> String {
    if carried.is_empty() {
        return filter.into();
    }
    let parts: Vec<String> = carried.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    let filter = if filter.contains(' ') { format!("({filter})") } else { filter.into() };
    format!("{{{}}} + {filter}", parts.join(", "))
}

/// Returns what a field around the bars says of them, if its value fits: symbol or timeframe.
pub(super) fn field(name: &str, text: &str, map: &ColumnMap) -> Option<Role> {
    let role = map.role_of(name).or(match name {
        "instrument" | "pair" | "instId" | "product_id" => Some(Role::Symbol),
        "granularity" | "dataGranularity" | "resolution" | "frequency" => Some(Role::Timeframe),
        _ => None,
    });
    match role {
        Some(Role::Symbol) if text.len() <= 64 => role,
        Some(Role::Timeframe) if text.parse::<Timeframe>().is_ok() => role,
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Red if a name closes the quotes around the filter, or a key stands behind a path as jq 1.6 does not read it.
    #[test]
    fn paths_are_what_jq_and_a_shell_read() {
        for (name, expected) in [
            ("bars", Some(".bars")),
            ("price bars", Some(r#".["price bars"]"#)),
            ("1. open", Some(r#".["1. open"]"#)),
            ("開く", Some(r#".["開く"]"#)),
            ("it's", None),
            ("a`b", None),
            ("a\"b", None),
            ("a\\b", None),
            ("a\nb", None),
            ("", None),
        ] {
            assert_eq!(path(name).as_deref(), expected, "{name:?}");
        }
        for (outer, inner, expected) in [
            (".a", ".", ".a"),
            (".a", ".b[]", ".a.b[]"),
            (".a", ".[].b", ".a[]?.b"),
            (".a", "to_entries[] | .b", ".a | objects | to_entries[] | .b"),
            (".a", r#".["b c"][]"#, r#".a["b c"][]"#),
            (".a", "[.t] | transpose[]", ".a | [.t] | transpose[]"),
            (".a", ". as $all | .b", ".a | . as $all | .b"),
            (".a", ".t as $time | .b", ".a | .t as $time | .b"),
            (".a", ". + {b}", ".a | . + {b}"),
            (r#".["a b"]"#, r#".["c d"][] | {e}"#, r#".["a b"]["c d"][] | {e}"#),
            ("to_entries[] | {} + .x", ".b", "to_entries[] | {} + .x | .b"),
        ] {
            assert_eq!(under(outer, inner), expected);
        }
        assert_eq!(with(&[("symbol", ".key".into())], ".value[]"), "{symbol: .key} + .value[]");
        assert_eq!(with(&[("symbol", ".s".into())], ".a | {b}"), "{symbol: .s} + (.a | {b})");
    }
}
