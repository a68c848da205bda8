//! A table as text.

use super::{Figures, Goal, Line, Table};

/// The columns.
pub const HEAD: [&str; 6] = ["what", "ours", "peer", "ratio", "goal", "met"];

/// Returns the tables in aligned columns, as one.
pub fn show(tables: &[Table]) -> String {
    let rows: Vec<_> = tables.iter().flat_map(|table| &table.lines).map(cells).collect();
    let width = |column: usize| {
        rows.iter().map(|row| row[column].chars().count()).chain([HEAD[column].len()]).max().unwrap_or_default()
    };
    let widths: [usize; 6] = std::array::from_fn(width);
    let aligned = |row: &[String; 6]| {
        let columns: Vec<_> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        columns.join(" | ").trim_end().to_owned() + "\n"
    };
    let mut text = String::new();
    for table in tables {
        text += &format!("{}\non {}\n", heading(table), table.machine);
        text += &aligned(&HEAD.map(str::to_owned));
        text.extend(table.lines.iter().map(|line| aligned(&cells(line))));
        text += "\n";
    }
    text
}

/// Returns the bench, the sizes of its run, and when it began.
pub fn heading(table: &Table) -> String {
    let sizes: String = table.sizes.iter().map(|(name, size)| format!("{} {name}, ", number(*size))).collect();
    format!("{}: {sizes}{} UTC", table.bench, table.date)
}

/// Returns a line's cells, in the order of the head.
pub fn cells(line: &Line) -> [String; 6] {
    let peer = line.peer.as_ref();
    [
        line.what.clone(),
        format!("{} {}", figures(&line.ours), line.unit),
        peer.map_or_else(String::new, |peer| format!("{}: {}", peer.name, figures(&peer.figures))),
        peer.and_then(|peer| peer.ratio).map_or_else(String::new, |ratio| figures(&ratio)),
        line.goal.map_or_else(String::new, |goal| match goal {
            Goal::RatioAtLeast(least) => format!("ratio >= {}", number(least)),
            Goal::RatioAtMost(most) => format!("ratio <= {}", number(most)),
            Goal::AtLeast(least) => format!(">= {} {}", number(least), line.unit),
            Goal::AtMost(most) => format!("<= {} {}", number(most), line.unit),
        }),
        line.met.map_or("", |met| if met { "yes" } else { "no" }).to_owned(),
    ]
}

/// Returns the median, and behind it the quartiles of more samples than one.
fn figures(figures: &Figures) -> String {
    let Figures { median, low, high, samples } = *figures;
    if samples == 1 { number(median) } else { format!("{} ({}..{})", number(median), number(low), number(high)) }
}

/// Returns a number in three digits, in thousands or millions where it is large.
pub fn number(value: f64) -> String {
    let (value, suffix) = match value.abs() {
        1e6.. => (value / 1e6, " M"),
        1e4.. => (value / 1e3, " k"),
        _ => (value, ""),
    };
    let whole = value.fract() == 0.0 && suffix.is_empty();
    let digits = if whole || value == 0.0 { 0 } else { (2 - value.abs().log10().floor() as i32).clamp(0, 5) as usize };
    format!("{value:.digits$}{suffix}")
}
