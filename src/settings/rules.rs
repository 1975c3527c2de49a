//! The rules by which a raw value becomes the value of a setting.
//!
//! The ends of the ranges are generous: they refuse a slip (a zero, a missing digit, milliseconds
//! for minutes) and what the other side refuses anyway, and leave the rest to the admin. Each range
//! stands with its setting, in the file of its section.

use std::borrow::Cow;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::raw::RawValue;
use super::units::{parse_duration, parse_size, show_duration, show_size};

pub(super) const KIB: u64 = 1024;
pub(super) const MIB: u64 = 1024 * KIB;
pub(super) const GIB: u64 = 1024 * MIB;

pub(super) const SECOND: Duration = Duration::from_secs(1);
pub(super) const MINUTE: Duration = Duration::from_mins(1);
pub(super) const HOUR: Duration = Duration::from_hours(1);
pub(super) const DAY: Duration = Duration::from_hours(24);
/// For ages: as good as never.
pub(super) const CENTURY: Duration = Duration::from_hours(36_500 * 24);

/// A count, size or duration that can be set.
pub(super) struct Setting<T> {
    /// Section and key, as errors name it.
    pub name: &'static str,
    pub default: T,
    pub range: RangeInclusive<T>,
}

/// Why a value is refused, and what would be right. It never quotes the value.
pub(super) struct Refusal(pub Cow<'static, str>);

impl Refusal {
    /// A refusal in fixed words.
    pub fn new<T>(text: &'static str) -> Result<T, Self> {
        Err(Self(Cow::Borrowed(text)))
    }

    fn range<T>(least: &str, most: &str) -> Result<T, Self> {
        Err(Self(Cow::Owned(format!("out of range; write {least} to {most}"))))
    }
}

/// A text. A number is refused: `15.10` would have become 15.1 on the way.
pub(super) fn text(value: &RawValue) -> Result<&str, Refusal> {
    match value {
        RawValue::Text(text) => Ok(text),
        RawValue::Whole(_) | RawValue::Number | RawValue::Bool(_) => {
            Refusal::new("a number or a boolean where a text is needed; put it in single quotes")
        }
        RawValue::Null | RawValue::List(_) | RawValue::Map => {
            Refusal::new("a list or a map where one text is needed")
        }
    }
}

pub(super) fn flag(value: &RawValue) -> Result<bool, Refusal> {
    match value {
        RawValue::Bool(flag) => Ok(*flag),
        _ => Refusal::new("not a boolean; write true or false, without quotes"),
    }
}

/// A whole number within `range`.
pub(super) fn count(value: &RawValue, range: &RangeInclusive<u64>) -> Result<u64, Refusal> {
    match value {
        RawValue::Whole(number) if range.contains(number) => Ok(*number),
        RawValue::Whole(_) => Refusal::range(&range.start().to_string(), &range.end().to_string()),
        _ => Refusal::new("not a whole number; write it in digits only, such as 2000"),
    }
}

/// A size within `range`, in bytes.
pub(super) fn size(value: &RawValue, range: &RangeInclusive<u64>) -> Result<u64, Refusal> {
    let bytes = match value {
        RawValue::Whole(bytes) => Some(*bytes),
        RawValue::Text(text) => parse_size(text),
        _ => None,
    };
    match bytes {
        Some(bytes) if range.contains(&bytes) => Ok(bytes),
        Some(_) => Refusal::range(&show_size(*range.start()), &show_size(*range.end())),
        None => Refusal::new("not a size; write a number with a unit, such as 8 MiB, 500 MB or 1 GiB"),
    }
}

/// A duration within `range`.
pub(super) fn duration(value: &RawValue, range: &RangeInclusive<Duration>) -> Result<Duration, Refusal> {
    let length = match value {
        RawValue::Text(text) => parse_duration(text),
        _ => None,
    };
    match length {
        Some(length) if range.contains(&length) => Ok(length),
        Some(_) => Refusal::range(&show_duration(*range.start()), &show_duration(*range.end())),
        None => Refusal::new(
            "not a duration; write a number with a unit of ms, s, m (minutes), h or d, such as \
             250ms, 15m, 12h or 730d",
        ),
    }
}

/// One of a few words, each with its meaning.
pub(super) fn word<T: Copy>(value: &RawValue, words: &[(&str, T)]) -> Result<T, Refusal> {
    let word = text(value).unwrap_or_default();
    let found = words.iter().find(|(known, _)| *known == word);
    found.map(|(_, meaning)| *meaning).ok_or_else(|| {
        let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let known = words.join(", ");
        Refusal(Cow::Owned(format!("not one of the words known here; write one of: {known}")))
    })
}
