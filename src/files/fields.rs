use crate::text::Quoted;

/// Where the fields of a line are; used again for each line.
#[derive(Default)]
pub(crate) struct Fields {
    ranges: Vec<(usize, usize)>,
    /// The fields of a line with quotes, without them.
    unquoted: String,
}

/// The fields of one line.
#[derive(Clone, Copy)]
pub(crate) struct FieldsOf<'a> {
    text: &'a str,
    ranges: &'a [(usize, usize)],
}

impl<'a> FieldsOf<'a> {
    pub(crate) fn len(&self) -> usize {
        self.ranges.len()
    }

    pub(crate) fn get(&self, index: usize) -> &'a str {
        let (start, end) = self.ranges[index];
        &self.text[start..end]
    }

    /// Returns a field without the blanks around it.
    #[inline(always)]
    pub(crate) fn trimmed(&self, index: usize) -> &'a str {
        trimmed(self.get(index))
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = &'a str> {
        (0..self.len()).map(move |index| self.get(index))
    }
}

/// Returns a text without the blanks around it.
#[inline(always)]
pub(crate) fn trimmed(text: &str) -> &str {
    match text.as_bytes() {
        // Nearly all: there is nothing to look for.
        [first, .., last] if first.is_ascii_graphic() && last.is_ascii_graphic() => text,
        [one] if one.is_ascii_graphic() => text,
        _ => text.trim(),
    }
}

impl Fields {
    pub(crate) fn split<'a>(&'a mut self, line: &'a str, delimiter: u8) -> Result<FieldsOf<'a>, String> {
        self.ranges.clear();
        if memchr::memchr(b'"', line.as_bytes()).is_some() {
            self.split_quoted(line, char::from(delimiter))?;
            return Ok(FieldsOf { text: &self.unquoted, ranges: &self.ranges });
        }
        let mut start = 0;
        // Cells are short, so that a search for each costs more than a look at each byte.
        for (end, byte) in line.bytes().enumerate() {
            if byte == delimiter {
                self.ranges.push((start, end));
                start = end + 1;
            }
        }
        self.ranges.push((start, line.len()));
        Ok(FieldsOf { text: line, ranges: &self.ranges })
    }

    fn split_quoted(&mut self, line: &str, delimiter: char) -> Result<(), String> {
        const UNCLOSED: &str = "expected a closing quote on the same line, got none";
        self.unquoted.clear();
        let mut rest = line;
        loop {
            let start = self.unquoted.len();
            let trimmed = rest.trim_start_matches(' ');
            if let Some(mut quoted) = trimmed.strip_prefix('"') {
                loop {
                    let (inside, behind) = quoted.split_once('"').ok_or(UNCLOSED)?;
                    self.unquoted.push_str(inside);
                    match behind.strip_prefix('"') {
                        Some(behind) => {
                            self.unquoted.push('"');
                            quoted = behind;
                        }
                        None => {
                            rest = behind.trim_start_matches(' ');
                            break;
                        }
                    }
                }
                if !rest.is_empty() && !rest.starts_with(delimiter) {
                    return Err(format!("expected a delimiter behind a closing quote, got {}", Quoted(rest)));
                }
            } else {
                let end = rest.find(delimiter).unwrap_or(rest.len());
                self.unquoted.push_str(&rest[..end]);
                rest = &rest[end..];
            }
            self.ranges.push((start, self.unquoted.len()));
            match rest.strip_prefix(delimiter) {
                Some(next) => rest = next,
                None => return Ok(()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(line: &str) -> Result<Vec<String>, String> {
        let mut fields = Fields::default();
        let fields = fields.split(line, b',')?;
        Ok(fields.iter().map(str::to_owned).collect())
    }

    #[test]
    fn a_line_is_split_at_delimiters_outside_of_quotes() {
        for (line, expected) in [
            ("a,b,c", &["a", "b", "c"][..]),
            ("a,,", &["a", "", ""]),
            ("", &[""]),
            (r#""a,b",c"#, &["a,b", "c"]),
            (r#"a, "b""c" ,"",d"#, &["a", "b\"c", "", "d"]),
            (r#""""","x","#, &["\"", "x", ""]),
            (r#"6" pipe,b"#, &["6\" pipe", "b"]),
        ] {
            assert_eq!(
                split(line).as_deref(),
                Ok(&expected.iter().map(ToString::to_string).collect::<Vec<_>>()[..]),
                "{line}"
            );
        }
        assert_eq!(split(r#"a,"b"#).unwrap_err(), "expected a closing quote on the same line, got none");
        assert_eq!(split(r#""a"b,c"#).unwrap_err(), r#"expected a delimiter behind a closing quote, got "b,c""#);
    }

    // Red if only one end of a field is looked at.
    #[test]
    fn the_blanks_around_a_field_go() {
        let line = "a, a,a ,ab, ab,ab , ,,\u{a0}ab,ab\u{2003},a b,\tab\r";
        let mut fields = Fields::default();
        let fields = fields.split(line, b',').unwrap();
        let trimmed: Vec<&str> = (0..fields.len()).map(|index| fields.trimmed(index)).collect();
        assert_eq!(trimmed, ["a", "a", "a", "ab", "ab", "ab", "", "", "ab", "ab", "a b", "ab"]);
    }
}
