//! Bars in columns, keyed by times, or with their names beside them.

use super::{
    super::{
        json_columns::is_time,
        json_shape::{Array, Node, Object},
        json_text::{path, under},
    },
    Found, PRICES, Rows, Search, plain,
};
use crate::files::columns::Role;

impl Search<'_> {
    /// An array for each column: `{"t":[],"o":[],...}`, or the time beside an object of them, as in Yahoo's chart.
    pub(super) fn columns(self, object: &Object) -> Found {
        let row = |object: &Object| {
            let is_pure = object.is_whole && object.fields.iter().all(|(_, value)| column(value).is_some());
            let select = if is_pure { "" } else { "select(.value | type == \"array\") | " };
            format!("with_entries({select}.value = .value[$row])")
        };
        let is_time_column = |(name, value): &&(String, Node)| column(value).is_some() && self.is_time_name(name);
        if let Some(price) = self.price_column(object, &|value| column(value).is_some()) {
            let what = "an object with an array for each column";
            let begins_with_time =
                |value| column(value).is_some_and(|times| times.first().is_some_and(|time| is_time(time)));
            let mut times = object.fields.iter().filter(|(_, value)| begins_with_time(value));
            let time = match (object.fields.iter().find(is_time_column), times.next(), times.next()) {
                (Some(_), ..) => String::new(),
                (None, Some((name, _)), None) => format!("{{ts: {}[$row]}} + ", path(name)?),
                // It may stand further on.
                (None, None, _) if !object.is_whole => String::new(),
                _ => return Some(Err(format!("{what}, and no time is known among them"))),
            };
            let filter = format!("range({} | length) as $row | {time}{}", path(price)?, row(object));
            return Some(Ok(self.rows(filter, what)));
        }
        let (time, _) = object.fields.iter().find(is_time_column)?;
        let (place, deeper) = self.deeper_columns(object, 3)?;
        let filter = format!(
            "{} as $time | {place} | range($time | length) as $row | {{ts: $time[$row]}} + {}",
            path(time)?,
            row(deeper)
        );
        Some(Ok(self.rows(filter, "the times beside an object with an array for each column")))
    }

    /// Returns the first column of prices, where there are all four, or as many as were looked at.
    fn price_column<'n>(self, object: &'n Object, is_column: &dyn Fn(&Node) -> bool) -> Option<&'n str> {
        let of = |price: &Role| {
            object.fields.iter().find(|(name, value)| is_column(value) && self.role(name) == Some(*price))
        };
        let mut found = PRICES.iter().filter_map(of).map(|(name, _)| name.as_str());
        let first = found.next()?;
        (found.count() == 3 || !object.is_whole).then_some(first)
    }

    /// Finds an object of columns inside of another one.
    fn deeper_columns(self, object: &Object, depth: u32) -> Option<(String, &Object)> {
        object.fields.iter().filter(|_| depth > 0).find_map(|(name, value)| {
            let (inner, index) = match value {
                Node::Object(inner) => (inner, ""),
                Node::Array(array) => (array.items.first()?.object()?, "[0]"),
                _ => return None,
            };
            let place = format!("{}{index}", path(name)?);
            if self.price_column(inner, &|value| column(value).is_some()).is_some() {
                return Some((place, inner));
            }
            let (deeper, found) = self.deeper_columns(inner, depth - 1)?;
            Some((under(&place, &deeper), found))
        })
    }

    /// Arrays whose numbers are named by an array beside them, and mostly an index: `to_json(orient="split")`.
    pub(super) fn named_arrays(self, object: &Object) -> Found {
        let is_header = |node: &Node| {
            let Some(names) = node.array().and_then(Array::scalars) else { return false };
            PRICES.iter().all(|price| names.iter().any(|name| self.role(name) == Some(*price)))
        };
        let (names, header) = object.fields.iter().find(|(_, value)| is_header(value))?;
        let header = header.array()?.scalars()?;
        let (data, rows) = object.fields.iter().find_map(|(name, value)| {
            let rows = value.array()?;
            (rows.items.first()?.array()?.scalars()?.len() == header.len()).then_some((name, rows))
        })?;
        let what = "arrays, whose names stand beside them";
        let first = rows.items.first()?.array()?.scalars()?;
        let index = object.fields.iter().find(|(name, value)| {
            let times = value.array().and_then(Array::scalars);
            name != data && times.is_some_and(|times| times.first().is_some_and(|time| is_time(time)))
        });
        // The next table may have its columns in another order.
        let named = "reduce range($names | length) as $at ({}; .[$names[$at] | tostring] = $row[$at])";
        let has_time = header.iter().any(|name| self.is_time_name(name));
        let (data, names) = (path(data)?, path(names)?);
        let filter = match index {
            Some((index, _)) if !has_time => {
                let index = path(index)?;
                format!("{names} as $names | [{index}, {data}] | transpose[] | .[1] as $row | {{ts: .[0]}} + ({named})")
            }
            _ => {
                let each = format!("{names} as $names | {data}[]? as $row | {named}");
                let mut times = (0..header.len()).filter(|at| is_time(first[*at]));
                match (has_time, times.next(), times.next()) {
                    (true, ..) => each,
                    (false, Some(time), None) if header[time].is_empty() => format!("{each} | .ts = $row[{time}]"),
                    (false, Some(time), None) => format!("{each} | .ts = {}", path(header[time])?),
                    _ => return Some(Err(format!("{what}, and no time is known among them"))),
                }
            }
        };
        let numbered = header.iter().any(|name| plain(name) != *name);
        let filter = if numbered { filter.replace("tostring]", "sub(\"^[0-9]+[a-z]?[.] \"; \"\")]") } else { filter };
        Some(Ok(self.rows(filter, what)))
    }

    /// An object for each column, keyed by rows: pandas' `to_json()`.
    pub(super) fn maps_of_columns(self, object: &Object) -> Found {
        let is_column = |value: &Node| {
            let is_value = |(_, value): &(String, Node)| value.scalar().is_some() || *value == Node::Cut;
            value.object().is_some_and(|column| !column.fields.is_empty() && column.fields.iter().all(is_value))
        };
        let price = self.price_column(object, &is_column)?;
        let what = "an object with an object for each column";
        let ts = if object.get(price)?.object()?.fields.iter().all(|(key, _)| is_time(key)) {
            "{ts: $row} + "
        } else if object.fields.iter().any(|(name, value)| is_column(value) && self.is_time_name(name)) {
            ""
        } else {
            return Some(Err(format!("{what}, and no time is known among them")));
        };
        let is_pure = object.is_whole && object.fields.iter().all(|(_, value)| is_column(value));
        let select = if is_pure { "" } else { "with_entries(select(.value | type == \"object\")) | " };
        let price = path(price)?;
        let filter = format!(
            "{select}. as $all | {price} | objects | keys_unsorted[] as $row | {ts}($all | map_values(.[$row]))"
        );
        Some(Ok(self.rows(filter, what)))
    }

    /// Bars keyed by their times, as Alpha Vantage has them.
    pub(super) fn by_time(self, object: &Object) -> Found {
        let records: Vec<_> = object.fields.iter().filter_map(|(key, value)| Some((key, value.object()?))).collect();
        let (_, first) = records.first()?;
        if !records.iter().all(|(key, _)| is_time(key)) {
            return None;
        }
        if let Err(problem) = self.check_prices(first)? {
            return Some(Err(problem));
        }
        let mut roles: Vec<_> = first.fields.iter().filter_map(|(name, _)| self.role(name)).collect();
        let named = roles.len();
        roles.dedup();
        roles.sort_unstable_by_key(|role| *role as usize);
        roles.dedup();
        let what = "an object whose keys are times";
        if roles.len() != named {
            return Some(Err(format!("{what}, with two fields for one part of a bar")));
        }
        let rows = self.record_rows(first, ".value")?;
        let filter = match rows.filter.strip_prefix('{') {
            _ if self.has_time_field(first) => under("to_entries[]", &rows.filter),
            Some(parts) => format!("to_entries[] | {{ts: .key, {parts}"),
            None => "to_entries[] | {ts: .key} + .value".into(),
        };
        Some(Ok(self.rows(filter, what)))
    }

    /// A bar whose prices stand in an object of their own, as OANDA's `mid`.
    pub(super) fn nested_prices(self, object: &Object) -> Found {
        if !self.has_time_field(object) {
            return None;
        }
        let is_prices =
            |inner: &Object| matches!(self.check_prices(inner), Some(Ok(()))) && !self.has_time_field(inner);
        let mut names = object.fields.iter().filter(|(_, value)| value.object().is_some_and(is_prices));
        let (name, _) = names.next()?;
        if let Some((other, _)) = names.next() {
            return Some(Err(format!("bars with prices in both {name:?} and {other:?}: take one of them out with jq")));
        }
        let place = path(name)?;
        let rows = self.rows(format!("del({place}) + {place}"), "bars whose prices stand in an object of their own");
        Some(Ok(Rows { is_list: false, ..rows }))
    }
}

/// Returns the values of a column.
fn column(value: &Node) -> Option<Vec<&str>> {
    value.array().and_then(Array::scalars)
}
