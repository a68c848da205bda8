use crate::files::{
    chunk::{MAX_LINE_BYTES, ReadError},
    file_name::{plain_or, stem},
    tables,
};

/// So many bytes tell a text from everything else that is known here.
const ENOUGH: usize = 16;

/// How the bars of a file are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Csv,
    Ndjson,
    Array,
}

/// Returns the format that the first bytes behind a byte order mark show; none while there are too few, or at the end when there is nothing but
/// blanks.
pub(crate) fn format(bytes: &[u8], at_end: bool, name: &str) -> Result<Option<Format>, ReadError> {
    if bytes.len() < ENOUGH && !at_end {
        return Ok(None);
    }
    if let Some(refusal) = refusal(bytes, name) {
        return Err(ReadError::Refused(refusal));
    }
    match bytes.trim_ascii_start() {
        [b'{', ..] => Ok(Some(Format::Ndjson)),
        // No JSON begins so: the names of optionsdx stand in brackets.
        [b'[', b'A'..=b'Z', ..] => Ok(Some(Format::Csv)),
        [b'[', ..] => Ok(Some(Format::Array)),
        [_, ..] => Ok(Some(Format::Csv)),
        [] if bytes.len() > MAX_LINE_BYTES => {
            Err(ReadError::Refused("expected CSV or JSON, got more than 1 MiB of blanks".into()))
        }
        [] => Ok(None),
    }
}

/// Names what the file is if it cannot be read as text, and what to do about it.
fn refusal(bytes: &[u8], name: &str) -> Option<String> {
    // The outer layer is decompressed already: these lie inside.
    const PACKED_TWICE: [(&[u8], &str); 3] =
        [(b"\x1f\x8b", "gzip"), (b"PK\x03\x04", "zip"), (b"\x28\xb5\x2f\xfd", "zstd")];
    const PACKED: [(&[u8], &str, &str); 3] =
        [(b"BZh", "bzip2", "bzip2 -dc"), (b"\xfd7zXZ\0", "xz", "xz -dc"), (b"\x04\x22\x4d\x18", "lz4", "lz4 -dc")];
    if let Some((_, kind)) = PACKED_TWICE.iter().find(|(magic, _)| bytes.starts_with(magic)) {
        return Some(format!("expected CSV or JSON, got {kind} inside of what was unpacked: unpack it once first"));
    }
    if let Some((_, kind, tool)) = PACKED.iter().find(|(magic, ..)| bytes.starts_with(magic)) {
        return Some(format!(
            "expected CSV or JSON, got {kind}: unpack it first, as in `{tool} FILE | mds ingest ... -`"
        ));
    }
    if let Some(refusal) = tables::refusal(bytes, name) {
        return Some(refusal);
    }
    if bytes.starts_with(b"SQLite format 3\0") {
        return Some("expected CSV or JSON, got an SQLite database: export it as CSV first".into());
    }
    if bytes.starts_with(b"DBN") && bytes.get(3).is_some_and(|version| *version < b' ') {
        let (file, csv) = (plain_or(name, "FILE"), plain_or(stem(name), "FILE"));
        return Some(format!(
            "expected CSV or JSON, got DBN of Databento: make it CSV, as in `dbn --csv --map-symbols {file} > {csv}.csv`"
        ));
    }
    // Its mark stands far behind the name with which it begins, so a slow pipe may not have brought it yet.
    if bytes.get(257..262) == Some(b"ustar") {
        return Some(
            "expected CSV or JSON, got a tar archive: unpack it first, as in `tar -xOf FILE NAME | mds ingest ... -`"
                .into(),
        );
    }
    let first = &bytes[..bytes.len().min(ENOUGH)];
    // Latin letters in UTF-16 have a zero byte each, before or behind.
    let every_second =
        |zero: usize| first.len() > 3 && first.iter().enumerate().all(|(at, byte)| (*byte == 0) == (at % 2 == zero));
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") || every_second(0) || every_second(1) {
        return Some(
            "expected UTF-8, got UTF-16: convert it first, as in `iconv -f UTF-16 -t UTF-8 FILE | mds ingest ... -`"
                .into(),
        );
    }
    first.contains(&0).then(|| "expected CSV or JSON, got binary data (a zero byte among the first 16)".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_byte_that_is_not_blank_decides() {
        for (text, expected) in [
            ("date,open,high,low,close", Some(Format::Csv)),
            ("\tOpen\tHigh\tLow\tClose", Some(Format::Csv)),
            ("\n  {\"open\": 1}       ", Some(Format::Ndjson)),
            ("\r\n [                           ", Some(Format::Array)),
            ("[QUOTE_DATE], [STRIKE]", Some(Format::Csv)),
            ("                              ", None),
            ("a,b", None),
        ] {
            assert_eq!(format(text.as_bytes(), false, "-").unwrap(), expected, "{text:?}");
        }
        assert_eq!(format(b"a,b", true, "-").unwrap(), Some(Format::Csv));
        assert_eq!(format(b"", true, "-").unwrap(), None);
    }

    #[test]
    fn what_is_not_text_is_refused_in_one_line() {
        for (bytes, expected) in [
            (&b"\x1f\x8b\x08\0"[..], "got gzip inside of what was unpacked: unpack it once first"),
            (b"PK\x03\x04\x14\0", "got zip inside"),
            (b"\x28\xb5\x2f\xfd\x04", "got zstd inside"),
            (b"BZh91AY", "got bzip2: unpack it first, as in `bzip2 -dc FILE | mds ingest ... -`"),
            (b"DBN\x01\x3d", "got DBN of Databento: make it CSV, as in `dbn --csv --map-symbols in/bars.parquet > "),
            (b"SQLite format 3\0", "got an SQLite database"),
            (b"\xff\xfed\0a\0t\0e\0", "got UTF-16"),
            (b"d\0a\0t\0e\0", "got UTF-16"),
            (b"\0d\0a\0t\0e", "got UTF-16"),
            (b"d\0\0\0a\0\0\0", "got binary data"),
        ] {
            let error = format(bytes, true, "in/bars.parquet").unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        let mut tar = b"bars/a_long_name.csv".to_vec();
        tar.resize(257, 0);
        tar.extend(b"ustar\x0000");
        assert!(format(&tar, false, "-").unwrap_err().to_string().contains("got a tar archive: unpack it first"));
        assert!(format(&vec![b' '; MAX_LINE_BYTES + 1], false, "-").is_err());
    }
}
