//! Files of tables that are no text, known by their first bytes, and the command that makes CSV of each.

use super::file_name::plain_or;

/// How pandas reads one.
struct Kind {
    magic: &'static [u8],
    name: &'static str,
    read: &'static str,
}

const KINDS: [Kind; 5] = [
    Kind { magic: b"ARROW1", name: "an Arrow file (feather)", read: "read_feather" },
    Kind { magic: b"FEA1", name: "a feather file (Arrow)", read: "read_feather" },
    Kind { magic: b"PAR1", name: "a Parquet file", read: "read_parquet" },
    Kind { magic: b"\x89HDF\r\n\x1a\n", name: "an HDF5 file", read: "read_hdf" },
    // The numbers are those of the protocol, and behind it of a frame or the first object.
    Kind { magic: b"\x80", name: "a pickle of Python", read: "read_pickle" },
];

/// Says what a file is, and what to do with it; none if it is none of these.
pub(super) fn refusal(bytes: &[u8], name: &str) -> Option<String> {
    if bytes.starts_with(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1") {
        return Some(excel(name));
    }
    let file = plain_or(name, "FILE");
    if bytes.starts_with(b"\x93NUMPY") {
        return Some(format!(
            "expected CSV or JSON, got an array of NumPy: make it CSV, and say which column is which with --map if they have \
             no names, as in `python3 -c \"import numpy, pandas; a = numpy.load('{file}'); \
             pandas.DataFrame(a).to_csv('{file}.csv', index=False, header=bool(a.dtype.names))\"`"
        ));
    }
    let is = |kind: &&Kind| {
        let is_pickle = kind.magic != b"\x80" || matches!(bytes.get(1), Some(2..=5)) && !bytes.is_ascii();
        bytes.starts_with(kind.magic) && is_pickle
    };
    let Kind { name: what, read, .. } = KINDS.iter().find(is)?;
    // Dates are often the index; one that only counts the rows would be taken for a column.
    let mut refusal = format!(
        "expected CSV or JSON, got {what}: make it CSV, as in `python3 -c \"import pandas; d = pandas.{read}('{file}'); \
         d.to_csv('{file}.csv', index=not isinstance(d.index, pandas.RangeIndex))\"`"
    );
    match *read {
        "read_parquet" => {
            refusal += &format!(" or `duckdb -c \"COPY (SELECT * FROM '{file}') TO '{file}.csv'\"`");
        }
        "read_pickle" => refusal += ", if you know who made it: a pickle can run any program",
        _ => {}
    }
    Some(refusal)
}

/// Says what to do with an Excel workbook.
pub(super) fn excel(name: &str) -> String {
    let file = plain_or(name, "FILE");
    format!(
        "expected CSV or JSON, got an Excel workbook: make its first sheet CSV, as in `python3 -c \"import pandas; \
         pandas.read_excel('{file}').to_csv('{file}.csv', index=False)\"`, or save it as CSV"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    // Red if a kind is told by less than its first bytes, or the command drops an index of dates.
    #[test]
    fn each_kind_has_a_command_that_names_the_file() {
        for (bytes, what, read) in [
            (&b"ARROW1\0\0\xff\xff\xff\xff"[..], "Arrow file (feather)", "read_feather('in/a.bin')"),
            (b"FEA1\0\0\0\0", "feather", "read_feather('in/a.bin')"),
            (b"PAR1\x15\x04", "Parquet", "read_parquet('in/a.bin')"),
            (b"\x89HDF\r\n\x1a\n\0", "HDF5", "read_hdf('in/a.bin')"),
            (b"\x80\x04\x95\x10\0", "pickle", "read_pickle('in/a.bin')"),
            (b"\x80\x02c", "pickle", "read_pickle('in/a.bin')"),
        ] {
            let refusal = refusal(bytes, "in/a.bin").unwrap();
            assert!(refusal.contains(what) && refusal.contains(read), "{refusal}");
            assert!(refusal.contains("d.to_csv('in/a.bin.csv', index=not isinstance(d.index, pandas.RangeIndex))"));
        }
        let numpy = refusal(b"\x93NUMPY\x01\0", "a b.npy").unwrap();
        assert!(numpy.contains("numpy.load('FILE')") && numpy.contains("--map"), "{numpy}");
        let old = refusal(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "a.xls").unwrap();
        assert!(old.contains("pandas.read_excel('a.xls').to_csv('a.xls.csv', index=False)"), "{old}");
        for text in [&b"PAR"[..], b"ARROW,open", b"\x80", b"\x80\x41", b"date,open"] {
            assert_eq!(refusal(text, "a"), None, "{text:?}");
        }
    }
}
