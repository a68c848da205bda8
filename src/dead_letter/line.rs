//! A line of a dead-letter file or of its journal: a JSON object that ends in a checksum of itself.
//!
//! A disk that fills up or loses power leaves lines without their end; one that rots flips bits. Neither can be told
//! from a good line by its JSON alone: `100.5` with one bit flipped is `108.5`. So the last field of a line is `crc`,
//! the CRC-32 (IEEE) of everything before it, in eight hexadecimal digits.

use std::{collections::HashMap, io::Write};

use crc32fast::Hasher;
use serde::de::IgnoredAny;

/// What a whole line begins with, and a line that has lost its own beginning is searched for.
const HEAD: &[u8] = br#"{"id":""#;
const FIELD: &[u8] = br#","crc":""#;
const TAIL: &[u8] = br#""}"#;
/// The field with its digits and the end of the object.
const CHECKSUM: usize = FIELD.len() + 8 + TAIL.len();

/// Adds the checksum and the line end to a JSON object.
pub(super) fn append_checksum(object: &mut Vec<u8>) {
    let closed = object.pop();
    debug_assert_eq!(closed, Some(b'}'), "a line is a JSON object");
    let checksum = checksum_of(crc_of(object));
    object.extend_from_slice(&checksum);
    object.push(b'\n');
}

/// Returns the CRC-32 (IEEE) of some bytes.
pub(super) fn crc_of(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes)
}

/// Whether a line's checksum is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Checksum {
    Right,
    Wrong,
    /// It ends in no checksum at all.
    None,
}

/// Looks at the checksum of a line without its line end.
pub(super) fn check(line: &[u8]) -> Checksum {
    let Some((body, checksum)) = split(line) else { return Checksum::None };
    if checksum_of(crc_of(body)) == *checksum { Checksum::Right } else { Checksum::Wrong }
}

/// Returns a line without its checksum, as the object that it was before.
pub(super) fn without_checksum(line: &[u8]) -> Vec<u8> {
    let body = split(line).map_or(line, |(body, _)| body);
    [body, b"}"].concat()
}

fn split(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let (body, checksum) = line.split_at_checked(line.len().checked_sub(CHECKSUM)?)?;
    (checksum.starts_with(FIELD) && checksum.ends_with(TAIL)).then_some((body, checksum))
}

fn checksum_of(crc: u32) -> [u8; CHECKSUM] {
    let mut checksum = [0; CHECKSUM];
    let mut rest = &mut checksum[..];
    // Cannot fail: the three parts are as long as the array.
    let _ = rest.write_all(FIELD);
    let _ = write!(rest, "{crc:08x}");
    let _ = rest.write_all(TAIL);
    checksum
}

/// Returns whether this is a line of ours, or what is left of one: it has our checksum's field, or begins with an id as
/// we make them.
pub(super) fn is_of_ours(line: &[u8]) -> bool {
    let has_id = |start: usize| line[start + HEAD.len()..].iter().take(16).all(u8::is_ascii_hexdigit);
    find(HEAD, line, 0).is_some_and(has_id) || find(FIELD, line, 0).is_some()
}

/// Returns a line without what some editors put at the beginning of a file: the byte order mark.
pub(super) fn without_mark(line: &[u8]) -> &[u8] {
    line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line)
}

/// Returns whether this begins like a line of ours, whatever its id. That is little, and enough in a journal, where an
/// id that was made by hand can be all that was written before a kill.
pub(super) fn begins_like_ours(line: &[u8]) -> bool {
    line.starts_with(HEAD)
}

/// Returns whether this is all that is left of a line of ours that was cut off close to its beginning.
pub(super) fn is_truncated(bytes: &[u8]) -> bool {
    HEAD.starts_with(bytes)
}

/// A part of what lies between two line ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part<'a> {
    /// A line whose checksum is right.
    Whole(&'a [u8]),
    /// What is none.
    Rest(&'a [u8]),
}

/// Finds the whole lines in what lies between two line ends. There can be more than one, and something beside them,
/// where a line end was hit, or where a line was cut off and another one written behind it.
pub(super) fn parts(between: &[u8]) -> Vec<Part<'_>> {
    if check(between) == Checksum::Right {
        return vec![Part::Whole(between)];
    }
    let ends = Ends::of(between);
    let mut parts = Vec::new();
    let mut done = 0;
    while let Some((start, end)) = ends.next_line(done) {
        // A single byte between two whole lines is what was their line end.
        if start > done + usize::from(done > 0) {
            parts.push(Part::Rest(&between[done..start]));
        }
        parts.push(Part::Whole(&between[start..end]));
        done = end;
    }
    if between.len() > done {
        parts.push(Part::Rest(&between[done..]));
    }
    parts
}

/// Returns where the beginning of a line stands that breaks off, in what stands behind a file's last line end. A loss
/// of power in the middle of an append leaves that, with or without zeros behind it: the line end comes last, so its
/// entry was never acknowledged. What has a checksum is none, nor is what is wrong before its end or a whole JSON
/// object, as a hand may have put it there.
pub(super) fn torn_at(behind: &[u8]) -> Option<usize> {
    let Some(&Part::Rest(rest)) = parts(behind).last() else { return None };
    let zeros = rest.iter().rev().take_while(|byte| **byte == 0).count();
    let line = &rest[..rest.len() - zeros];
    let is_begun = line.starts_with(HEAD) || HEAD.starts_with(line);
    let breaks_off = || serde_json::from_slice::<IgnoredAny>(line).is_err_and(|error| error.is_eof());
    (is_begun && check(line) == Checksum::None && breaks_off()).then(|| behind.len() - rest.len())
}

/// Where lines can begin and end in what lies between two line ends.
///
/// Each beginning could have its end at each checksum behind it, and a sum for each pair takes time that grows with the
/// square of the line. So the sum up to each of the two is continued over zeros to the end of the whole, which costs
/// the same for all: a checksum is right for a beginning where both come to the same.
struct Ends {
    /// The beginnings, in order, with what they come to.
    starts: Vec<(usize, u32)>,
    /// The fields in order, by what they come to.
    fields: HashMap<u32, Vec<usize>>,
}

impl Ends {
    fn of(bytes: &[u8]) -> Self {
        let mut ends = Self { starts: Vec::new(), fields: HashMap::new() };
        let (mut hasher, mut summed) = (Hasher::new(), 0);
        for at in 0..bytes.len() {
            let is_start = bytes[at..].starts_with(HEAD);
            let sum = sum_in(&bytes[at..]);
            if !is_start && sum.is_none() {
                continue;
            }
            hasher.update(&bytes[summed..at]);
            summed = at;
            let (crc, behind) = (hasher.clone().finalize(), bytes.len() - at);
            if is_start {
                ends.starts.push((at, over_zeros(crc, behind)));
            }
            if let Some(sum) = sum {
                ends.fields.entry(over_zeros(crc ^ sum, behind)).or_default().push(at);
            }
        }
        ends
    }

    /// Returns where the first whole line from `from` on begins, and where it ends.
    fn next_line(&self, from: usize) -> Option<(usize, usize)> {
        let first = self.starts.partition_point(|&(start, _)| start < from);
        self.starts[first..].iter().find_map(|&(start, comes_to)| {
            let fields = self.fields.get(&comes_to)?;
            let field = fields.get(fields.partition_point(|&field| field < start))?;
            Some((start, field + CHECKSUM))
        })
    }
}

/// Returns the checksum that the bytes begin with the field of.
fn sum_in(bytes: &[u8]) -> Option<u32> {
    let checksum = bytes.get(..CHECKSUM).filter(|checksum| checksum.starts_with(FIELD))?;
    let digits = std::str::from_utf8(&checksum[FIELD.len()..FIELD.len() + 8]).ok()?;
    let sum = u32::from_str_radix(digits, 16).ok()?;
    // Capital digits, or a sign, are not what we write.
    (checksum_of(sum) == *checksum).then_some(sum)
}

/// Returns what the bare division of a CRC makes of it over so many zeros. It is linear: of `a ^ b` it is that of `a`
/// with that of `b`.
fn over_zeros(crc: u32, zeros: usize) -> u32 {
    let mut hasher = Hasher::new_with_initial(crc);
    hasher.combine(&Hasher::new_with_initial_len(0, zeros as u64));
    hasher.finalize()
}

fn find(what: &[u8], bytes: &[u8], from: usize) -> Option<usize> {
    let found = bytes.get(from..)?.windows(what.len()).position(|window| window == what)?;
    Some(from + found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_checksum(object: &str) -> Vec<u8> {
        let mut line = object.as_bytes().to_vec();
        append_checksum(&mut line);
        line
    }

    // Sabotage: another polynomial, or no complement: red. Files of one version must be readable by all.
    #[test]
    fn the_checksum_is_the_usual_crc_32() {
        assert_eq!(crc_of(b"123456789"), 0xcbf4_3926);
        assert_eq!(with_checksum(r#"{"id":"a"}"#), b"{\"id\":\"a\",\"crc\":\"143f85da\"}\n");
    }

    // Sabotage: compare the digits without their case, or leave a byte out of the sum: red.
    #[test]
    fn every_flipped_bit_is_seen() {
        let line = with_checksum(r#"{"id":"a","record":{"price":100.5}}"#);
        let line = &line[..line.len() - 1];
        assert_eq!(check(line), Checksum::Right);
        for bit in 0..line.len() * 8 {
            let mut flipped = line.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(check(&flipped), Checksum::Right, "bit {bit}");
        }
    }

    // Sabotage: let any JSON object, or any id, pass: red.
    #[test]
    fn what_is_left_of_a_line_is_told_from_other_json() {
        let line = with_checksum(r#"{"id":"c4b71af0afbc85ae-1","ts":"2024-01-02T14:30:00Z","record":{}}"#);
        for cut in 0..line.len() {
            assert!(is_truncated(&line[..cut]) || is_of_ours(&line[..cut]), "cut off at {cut}");
            assert!(is_of_ours(&line[cut..]) || cut > line.len() - CHECKSUM - 1, "the last {cut} are left");
        }
        for foreign in [r#"{"symbol":"ES"}"#, r#"{"id":"ES-2024-01-02","open":1}"#, "ts,open,high,low,close", "{\n"] {
            assert!(!is_of_ours(foreign.as_bytes()) && !is_truncated(foreign.as_bytes()), "{foreign}");
        }
    }

    // Sabotage: look only at the first line behind a damage, or call the byte of a lost line end damage: red.
    #[test]
    fn whole_lines_are_found_beside_what_is_damaged() {
        let (a, b) = (with_checksum(r#"{"id":"a"}"#), with_checksum(r#"{"id":"b","record":{"id":"x","crc":"y"}}"#));
        let (a, b) = (&a[..a.len() - 1], &b[..b.len() - 1]);
        let whole = |line| Part::Whole(line);
        assert_eq!(parts(a), [whole(a)]);
        assert_eq!(parts(&[a, b"K", b].concat()), [whole(a), whole(b)], "the line end was hit");
        assert_eq!(parts(&[a, b"K"].concat()), [whole(a), Part::Rest(b"K")]);
        assert_eq!(parts(&[&a[..9], b].concat()), [Part::Rest(&a[..9]), whole(b)], "cut off, then appended to");
        assert_eq!(parts(&[b"{", b].concat()), [Part::Rest(b"{"), whole(b)]);
        assert_eq!(
            parts(&[b, &a[2..], b, b"\0\0\0"].concat()),
            [whole(b), Part::Rest(&a[2..]), whole(b), Part::Rest(b"\0\0\0")]
        );
        assert_eq!(parts(&a[1..]), [Part::Rest(&a[1..])]);
        assert_eq!(parts(b"x"), [Part::Rest(b"x")]);
    }

    /// As it is meant: each beginning, with each checksum behind it.
    fn end_of(bytes: &[u8], start: usize) -> Option<usize> {
        let fields = (start..bytes.len()).filter(|&field| bytes[field..].starts_with(FIELD));
        let mut ends = fields
            .filter(|&field| bytes.get(field..field + CHECKSUM) == Some(&checksum_of(crc_of(&bytes[start..field]))));
        ends.next().map(|field| field + CHECKSUM)
    }

    // Sabotage: one zero too few, or the first field instead of the first behind the beginning: red.
    #[test]
    fn every_beginning_finds_its_end() {
        let whole: Vec<_> = (0..5).map(|n| with_checksum(&format!(r#"{{"id":"{n}","record":{{"n":{n}}}}}"#))).collect();
        let mut random = fastrand::Rng::with_seed(7);
        let mut found = 0;
        for _ in 0..500 {
            let mut bytes = Vec::new();
            for _ in 0..random.usize(1..12) {
                let line = random.choice(&whole).unwrap();
                match random.u8(..6) {
                    0 => bytes.extend_from_slice(HEAD),
                    1 => bytes.extend_from_slice(br#","crc":"0123abcd"}"#),
                    2 => bytes.extend_from_slice(&line[..random.usize(..line.len())]),
                    3 => bytes.extend_from_slice(&line[random.usize(..line.len())..line.len() - 1]),
                    _ => bytes.extend_from_slice(&line[..line.len() - 1]),
                }
            }
            let ends = Ends::of(&bytes);
            for from in 0..=bytes.len() {
                let starts = (from..bytes.len()).filter(|&start| bytes[start..].starts_with(HEAD));
                let expected = starts.filter_map(|start| Some((start, end_of(&bytes, start)?))).next();
                assert_eq!(ends.next_line(from), expected, "{}", String::from_utf8_lossy(&bytes));
                found += usize::from(expected.is_some());
            }
        }
        assert!(found > 1_000, "{found}");
    }

    // Sabotage: sum up from each beginning to each field: a hundred times as long and more.
    #[test]
    fn a_damaged_line_full_of_beginnings_and_checksums_takes_no_longer_than_it_is_long() {
        let line = with_checksum(r#"{"id":"a"}"#);
        let line = &line[..line.len() - 1];
        let noise = br#"{"id":"x","crc":"0123abcd"}"#.repeat(50_000);
        let bytes = [&noise, line].concat();
        let begun = std::time::Instant::now();
        assert_eq!(parts(&bytes), [Part::Rest(&noise), Part::Whole(line)]);
        let took = begun.elapsed();
        println!("{} bytes took {took:?}", bytes.len());
        assert!(took < std::time::Duration::from_secs(20), "{took:?}");
    }
}
