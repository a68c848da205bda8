//! How rows are found in a file: lines of CSV or NDJSON, and the elements of a JSON array.

pub(crate) mod array;
pub(crate) mod csv;
mod header;
pub(crate) mod json_advice;
mod json_columns;
mod json_rows;
pub(crate) mod json_shape;
mod json_text;
pub(crate) mod lines;
pub(crate) mod object;
pub(crate) mod sniff;

pub(crate) use self::header::delimiter_of;
use super::chunk::{MAX_LINE_BYTES, ReadError};

/// So many lines may stand in front of the header of CSV.
pub(crate) const PREAMBLE_LINES: u64 = 5;

/// Refuses a file whose first lines cannot be those of CSV.
pub(crate) fn check_is_text(line: &str) -> Result<(), ReadError> {
    if line.contains('\r') {
        return Err(ReadError::Refused(
            "expected lines that end with LF or CRLF, got CR alone: convert the line ends first".into(),
        ));
    }
    if line.contains('\0') {
        return Err(ReadError::Refused(
            "expected CSV or JSON, got binary data (a zero byte in the first lines)".into(),
        ));
    }
    Ok(())
}

/// What every format makes of a line that it cannot look into.
pub(crate) fn too_long() -> String {
    format!("expected at most {MAX_LINE_BYTES} bytes in a line, got more")
}

/// Returns the line's text, or what is wrong with its bytes.
pub(crate) fn text_of(line: &[u8]) -> Result<&str, String> {
    str::from_utf8(line).map_err(|error| {
        let at = error.valid_up_to();
        format!("expected UTF-8, got byte 0x{:02x} at column {}", line[at], at + 1)
    })
}
