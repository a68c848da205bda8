//! A line of a dead-letter file or of its journal: a JSON object that ends in a checksum of itself.
//!
//! A disk that fills up or loses power leaves lines without their end; one that rots flips bits. Neither can be told
//! from a good line by its JSON alone: `100.5` with one bit flipped is `108.5`. So the last field of a line is `crc`,
//! the CRC-32 (IEEE) of everything before it, in eight hexadecimal digits.

use std::io::Write;

/// What a whole line begins with, and a line that has lost its own beginning is searched for.
const HEAD: &[u8] = br#"{"id":""#;
const FIELD: &[u8] = br#","crc":""#;
const TAIL: &[u8] = br#""}"#;
/// The field with its digits and the end of the object.
const SEAL: usize = FIELD.len() + 8 + TAIL.len();

/// Adds the checksum and the line end to a JSON object.
pub(super) fn seal(object: &mut Vec<u8>) {
    let closed = object.pop();
    debug_assert_eq!(closed, Some(b'}'), "a line is a JSON object");
    let seal = seal_of(!crc32(!0, object));
    object.extend_from_slice(&seal);
    object.push(b'\n');
}

/// Whether a line's checksum is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seal {
    Right,
    Wrong,
    /// It ends in no checksum at all.
    None,
}

/// Looks at the checksum of a line without its line end.
pub(super) fn check(line: &[u8]) -> Seal {
    let Some((body, seal)) = split(line) else { return Seal::None };
    if seal_of(!crc32(!0, body)) == *seal { Seal::Right } else { Seal::Wrong }
}

/// Returns a line without its checksum, as the object that it was before.
pub(super) fn unsealed(line: &[u8]) -> Vec<u8> {
    let body = split(line).map_or(line, |(body, _)| body);
    [body, b"}"].concat()
}

fn split(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let (body, seal) = line.split_at_checked(line.len().checked_sub(SEAL)?)?;
    (seal.starts_with(FIELD) && seal.ends_with(TAIL)).then_some((body, seal))
}

fn seal_of(crc: u32) -> [u8; SEAL] {
    let mut seal = [0; SEAL];
    let mut rest = &mut seal[..];
    // Cannot fail: the three parts are as long as the array.
    let _ = rest.write_all(FIELD);
    let _ = write!(rest, "{crc:08x}");
    let _ = rest.write_all(TAIL);
    seal
}

/// Returns whether this is a line of ours, or what is left of one: it has our checksum's field, or begins with an id as
/// we make them.
pub(super) fn is_of_ours(line: &[u8]) -> bool {
    let has_id = |start: usize| line[start + HEAD.len()..].iter().take(16).all(u8::is_ascii_hexdigit);
    find(HEAD, line, 0).is_some_and(has_id) || find(FIELD, line, 0).is_some()
}

/// Returns whether this is all that is left of a line of ours that was cut off close to its beginning.
pub(super) fn is_stump(bytes: &[u8]) -> bool {
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
    if check(between) == Seal::Right {
        return vec![Part::Whole(between)];
    }
    let mut parts = Vec::new();
    let mut done = 0;
    let mut from = 0;
    while let Some(start) = find(HEAD, between, from) {
        let Some(end) = end_of(between, start) else {
            from = start + 1;
            continue;
        };
        // A single byte between two whole lines is what was their line end.
        if start > done + usize::from(done > 0) {
            parts.push(Part::Rest(&between[done..start]));
        }
        parts.push(Part::Whole(&between[start..end]));
        (done, from) = (end, end);
    }
    if between.len() > done {
        parts.push(Part::Rest(&between[done..]));
    }
    parts
}

/// Returns where the line ends that starts at `start`, if one does.
fn end_of(bytes: &[u8], start: usize) -> Option<usize> {
    let (mut crc, mut summed) = (!0, start);
    while let Some(field) = find(FIELD, bytes, summed) {
        crc = crc32(crc, &bytes[summed..field]);
        summed = field;
        if bytes.get(field..field + SEAL) == Some(&seal_of(!crc)) {
            return Some(field + SEAL);
        }
        crc = crc32(crc, &bytes[field..=field]);
        summed += 1;
    }
    None
}

fn find(what: &[u8], bytes: &[u8], from: usize) -> Option<usize> {
    let found = bytes.get(from..)?.windows(what.len()).position(|window| window == what)?;
    Some(from + found)
}

/// Continues a CRC-32 (IEEE, reflected) over more bytes; it starts at `!0`, and its value is the complement.
fn crc32(crc: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(crc, |crc, byte| TABLE[(crc as u8 ^ byte) as usize] ^ (crc >> 8))
}

const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(object: &str) -> Vec<u8> {
        let mut line = object.as_bytes().to_vec();
        seal(&mut line);
        line
    }

    // Sabotage: another polynomial, or no complement: red. Files of one version must be readable by all.
    #[test]
    fn the_checksum_is_the_usual_crc_32() {
        assert_eq!(!crc32(!0, b"123456789"), 0xcbf4_3926);
        assert_eq!(sealed(r#"{"id":"a"}"#), b"{\"id\":\"a\",\"crc\":\"143f85da\"}\n");
    }

    // Sabotage: compare the digits without their case, or leave a byte out of the sum: red.
    #[test]
    fn every_flipped_bit_is_seen() {
        let line = sealed(r#"{"id":"a","record":{"price":100.5}}"#);
        let line = &line[..line.len() - 1];
        assert_eq!(check(line), Seal::Right);
        for bit in 0..line.len() * 8 {
            let mut flipped = line.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(check(&flipped), Seal::Right, "bit {bit}");
        }
    }

    // Sabotage: let any JSON object, or any id, pass: red.
    #[test]
    fn what_is_left_of_a_line_is_told_from_other_json() {
        let line = sealed(r#"{"id":"c4b71af0afbc85ae-1","ts":"2024-01-02T14:30:00Z","record":{}}"#);
        for cut in 0..line.len() {
            assert!(is_stump(&line[..cut]) || is_of_ours(&line[..cut]), "cut off at {cut}");
            assert!(is_of_ours(&line[cut..]) || cut > line.len() - SEAL - 1, "the last {cut} are left");
        }
        for foreign in [r#"{"symbol":"ES"}"#, r#"{"id":"ES-2024-01-02","open":1}"#, "ts,open,high,low,close", "{\n"] {
            assert!(!is_of_ours(foreign.as_bytes()) && !is_stump(foreign.as_bytes()), "{foreign}");
        }
    }

    // Sabotage: look only at the first line behind a damage, or call the byte of a lost line end damage: red.
    #[test]
    fn whole_lines_are_found_beside_what_is_damaged() {
        let (a, b) = (sealed(r#"{"id":"a"}"#), sealed(r#"{"id":"b","record":{"id":"x","crc":"y"}}"#));
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
}
