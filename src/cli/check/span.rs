//! Spans of time as they are shown.

pub(super) fn seconds(micros: i64) -> f64 {
    micros as f64 / 1e6
}

/// Shows a time span by its two greatest units, such as `2d 17h`; seconds with their fraction.
pub(super) fn span(micros: i64) -> String {
    const UNITS: [(i64, &str); 3] = [(86_400_000_000, "d"), (3_600_000_000, "h"), (60_000_000, "m")];
    let mut rest = micros;
    let mut parts = Vec::new();
    for (unit, name) in UNITS {
        if rest >= unit {
            parts.push(format!("{}{name}", rest / unit));
            rest %= unit;
        }
    }
    if rest > 0 || parts.is_empty() {
        parts.push(format!("{}s", seconds(rest)));
    }
    parts.truncate(2);
    parts.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_shown_by_its_greatest_units() {
        for (seconds, expected) in [
            (0.0, "0s"),
            (0.25, "0.25s"),
            (60.0, "1m"),
            (90.0, "1m 30s"),
            (86_400.0, "1d"),
            (86_400.0 * 2.0 + 3_600.0 * 17.0 + 60.0, "2d 17h"),
            (86_400.0 + 1.0, "1d 1s"),
        ] {
            assert_eq!(span((seconds * 1e6) as i64), expected);
        }
    }
}
