//! What every kind asks of names, numbers and texts, so that every database holds the same.

use std::{borrow::Cow, fmt::Display, str::FromStr};

use serde::{Deserialize, Deserializer, de};
use smol_str::SmolStr;

use super::timestamp::Timestamp;
use crate::{policy::Invalid, text::Quoted};

/// The most bytes of a symbol, a vendor and other names.
const NAME_BYTES: usize = 64;
/// The most bytes of an id: those of vendors can be long.
const ID_BYTES: usize = 255;

/// The vendor of a record whose vendor is not known.
pub(super) const UNKNOWN_VENDOR: &str = "unknown";

/// The same for serde.
pub(super) fn unknown_vendor() -> SmolStr {
    SmolStr::new_static(UNKNOWN_VENDOR)
}

/// Reads a vendor that may be null.
pub(super) fn vendor_or_unknown<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SmolStr, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_else(unknown_vendor))
}

/// Reads a value that may be null, which says as little as a field that is missing.
pub(super) fn default_if_null<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Brings a symbol into its normal form: trimmed, and in upper case unless it has an upper-case letter. Allocates nothing
/// for one that is normal already.
pub(super) fn symbol(field: &'static str, symbol: &mut SmolStr) -> Result<(), Invalid> {
    if !is_normal_symbol(symbol) {
        *symbol = normal_symbol(field, symbol)?;
    }
    Ok(())
}

/// Returns the normal form of a symbol.
pub(super) fn normal_symbol(field: &'static str, symbol: &str) -> Result<SmolStr, Invalid> {
    let trimmed = symbol.trim();
    let symbol = if is_upper(trimmed) { SmolStr::new(trimmed) } else { SmolStr::new(trimmed.to_uppercase()) };
    if symbol.is_empty() {
        return Err(Invalid::new(field, "expected a symbol, got an empty one"));
    }
    check_name(field, &symbol, NAME_BYTES)?;
    Ok(symbol)
}

/// Brings a vendor into its normal form: trimmed, `unknown` if it is empty.
pub(super) fn vendor(vendor: &mut SmolStr) -> Result<(), Invalid> {
    if !is_normal_vendor(vendor) {
        *vendor = normal_vendor(vendor)?;
    }
    Ok(())
}

fn is_normal_vendor(vendor: &str) -> bool {
    // As nearly all are.
    if (1..=NAME_BYTES).contains(&vendor.len()) && vendor.bytes().all(|byte| byte.is_ascii_graphic()) {
        return true;
    }
    !vendor.is_empty() && vendor.trim() == vendor && is_name(vendor, NAME_BYTES)
}

/// Returns the normal form of a vendor.
pub(super) fn normal_vendor(vendor: &str) -> Result<SmolStr, Invalid> {
    let trimmed = vendor.trim();
    check_name("vendor", trimmed, NAME_BYTES)?;
    Ok(if trimmed.is_empty() { unknown_vendor() } else { SmolStr::new(trimmed) })
}

/// Trims a name that may be empty, such as a venue.
pub(super) fn name(field: &'static str, name: &mut SmolStr) -> Result<(), Invalid> {
    trimmed(field, name, NAME_BYTES)
}

/// Trims an id, which may be empty.
pub(super) fn id(field: &'static str, id: &mut SmolStr) -> Result<(), Invalid> {
    trimmed(field, id, ID_BYTES)
}

fn trimmed(field: &'static str, text: &mut SmolStr, most: usize) -> Result<(), Invalid> {
    if text.trim() != *text {
        *text = SmolStr::new(text.trim());
    }
    check_name(field, text, most)
}

/// Trims a name that may be missing; an empty one is none.
pub(super) fn optional_name(field: &'static str, text: &mut Option<SmolStr>) -> Result<(), Invalid> {
    if let Some(text) = text {
        name(field, text)?;
    }
    if text.as_ref().is_some_and(|text| text.is_empty()) {
        *text = None;
    }
    Ok(())
}

/// Checks a text that may be long.
pub(super) fn text(field: &'static str, text: &str) -> Result<(), Invalid> {
    if text.contains('\0') {
        return Err(Invalid::new(field, format!("expected no NUL, got {}", Quoted(text))));
    }
    Ok(())
}

/// Checks a text that may be missing; an empty one is none.
pub(super) fn optional_text<T: AsRef<str>>(field: &'static str, value: &mut Option<T>) -> Result<(), Invalid> {
    if value.as_ref().is_some_and(|value| value.as_ref().trim().is_empty()) {
        *value = None;
    }
    value.as_ref().map_or(Ok(()), |value| text(field, value.as_ref()))
}

/// Checks that a number is finite; there is one zero.
pub(super) fn finite(field: &'static str, number: &mut f64) -> Result<(), Invalid> {
    if !number.is_finite() {
        return Err(Invalid::new(field, format!("expected a finite number, got {number}")));
    }
    // Of -0.0 and 0.0 the sum is 0.0.
    *number += 0.0;
    Ok(())
}

/// The same of numbers that may be missing.
pub(super) fn optional_finite<const N: usize>(numbers: [(&'static str, &mut Option<f64>); N]) -> Result<(), Invalid> {
    for (field, number) in numbers {
        if let Some(number) = number {
            finite(field, number)?;
        }
    }
    Ok(())
}

/// Checks that a number is finite and not negative.
pub(super) fn amount(field: &'static str, number: &mut f64) -> Result<(), Invalid> {
    if !(0.0..f64::INFINITY).contains(number) {
        return Err(Invalid::new(field, format!("expected a finite number from 0, got {number}")));
    }
    *number += 0.0;
    Ok(())
}

/// The same of amounts that may be missing.
pub(super) fn optional_amount<const N: usize>(numbers: [(&'static str, &mut Option<f64>); N]) -> Result<(), Invalid> {
    for (field, number) in numbers {
        if let Some(number) = number {
            amount(field, number)?;
        }
    }
    Ok(())
}

/// Checks that a time has a text that reads back.
pub(super) fn time(field: &'static str, ts: Timestamp) -> Result<(), Invalid> {
    if ts.has_text() {
        return Ok(());
    }
    let (first, last) = (Timestamp::MIN, Timestamp::MAX);
    Err(Invalid::new(field, format!("expected a time from {first} to {last}, got {ts}")))
}

/// Reads a word that may be missing; an empty text is none.
pub(super) fn none_if_empty<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: Display>,
{
    let text = Option::<Cow<'de, str>>::deserialize(deserializer)?;
    match text.as_deref().map(str::trim) {
        None | Some("") => Ok(None),
        Some(text) => text.parse().map(Some).map_err(de::Error::custom),
    }
}

/// Reads a word that may be missing or null; an empty text is the default too.
pub(super) fn default_if_empty<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: Display> + Default,
{
    Ok(none_if_empty(deserializer)?.unwrap_or_default())
}

/// Returns whether a symbol has an upper-case letter, or none that could become one.
fn is_upper(symbol: &str) -> bool {
    symbol.chars().any(char::is_uppercase) || !symbol.chars().any(char::is_lowercase)
}

/// The usual symbol decides by its bytes alone; one that is not ASCII is looked at by character.
fn is_normal_symbol(symbol: &str) -> bool {
    let (mut upper, mut lower) = (false, false);
    for byte in symbol.bytes() {
        upper |= byte.is_ascii_uppercase();
        lower |= byte.is_ascii_lowercase();
        if byte.is_ascii_control() {
            return false;
        }
        if !byte.is_ascii() {
            let is_trimmed = !symbol.is_empty() && symbol.trim() == symbol;
            return is_trimmed && is_upper(symbol) && is_name(symbol, NAME_BYTES);
        }
    }
    (1..=NAME_BYTES).contains(&symbol.len()) && (upper || !lower) && !symbol.starts_with(' ') && !symbol.ends_with(' ')
}

fn is_name(text: &str, most: usize) -> bool {
    text.len() <= most && !text.chars().any(char::is_control)
}

fn check_name(field: &'static str, text: &str, most: usize) -> Result<(), Invalid> {
    if is_name(text, most) {
        return Ok(());
    }
    let problem = if text.len() > most {
        format!("expected at most {most} bytes, got {} in {}", text.len(), Quoted(text))
    } else {
        format!("expected no control characters, got {}", Quoted(text))
    };
    Err(Invalid::new(field, problem))
}
