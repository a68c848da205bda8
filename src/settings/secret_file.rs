//! Values from files, as those who keep secrets hand them out.

use std::{ffi::OsStr, fs::File, io::Read};

/// The most bytes that a value has: a wrong path, such as that of a device, does not fill the memory.
const MOST: u64 = 64 * 1024;

/// Reads the value that a file holds: its text without the last line ending, and without spaces around it, as those of
/// a variable are cut off too.
///
/// # Errors
/// What is wrong, to follow the path; nothing of what the file holds.
pub fn read(path: &OsStr) -> Result<String, String> {
    let mut bytes = Vec::new();
    let file = File::open(path).and_then(|file| file.take(MOST + 1).read_to_end(&mut bytes));
    file.map_err(|error| format!("expected a file that can be read: {error}"))?;
    if bytes.len() as u64 > MOST {
        return Err(format!("expected a file of at most {MOST} bytes"));
    }
    let Ok(text) = String::from_utf8(bytes) else { return Err("expected a file of UTF-8 text".to_owned()) };
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let value = line.strip_suffix('\r').unwrap_or(line).trim_matches([' ', '\t']);
    match value {
        "" => Err("expected a file that holds the value, and it is empty".to_owned()),
        // A second line may be another secret, and one alone would be taken.
        _ if value.contains(char::is_control) => Err("expected a file of one line".to_owned()),
        _ => Ok(value.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Red when a line ending stays, more than the last one goes, or an error shows what the file holds.
    #[test]
    fn a_value_is_the_text_without_the_last_line_ending() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        let read_back = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            read(path.as_os_str())
        };
        for text in ["pa55", "pa55\n", "pa55\r\n", " pa55 \n"] {
            assert_eq!(read_back(text.as_bytes()).as_deref(), Ok("pa55"), "{text:?}");
        }
        assert_eq!(read_back("pä 55\n".as_bytes()).as_deref(), Ok("pä 55"));
        for (bytes, expected) in [
            (&b""[..], "it is empty"),
            (b"\n", "it is empty"),
            (b" \r\n", "it is empty"),
            (b"pa55\n\n", "of one line"),
            (b"pa55\nb\n", "of one line"),
            (b"pa55\0", "of one line"),
            (b"pa55\xff\n", "of UTF-8 text"),
            (&[b'p'; MOST as usize + 1], "at most 65536 bytes"),
        ] {
            let error = read_back(bytes).unwrap_err();
            assert!(error.contains(expected) && !error.contains("pa55"), "{error}");
        }
        assert_eq!(read_back(&[b'p'; MOST as usize]).map(|text| text.len()), Ok(MOST as usize));
        let missing = read(dir.path().join("none").as_os_str()).unwrap_err();
        assert!(missing.starts_with("expected a file that can be read: No such file"), "{missing}");
        assert!(read(dir.path().as_os_str()).unwrap_err().contains("can be read"));
    }
}
