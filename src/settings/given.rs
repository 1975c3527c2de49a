//! A value as the file gives it, not yet what the setting wants.
//!
//! Deserialising straight into numbers and durations would leave the error messages to the parser, which quotes what it
//! found and does not know the setting's name. So every value arrives as whatever it is, with its line, and is asked
//! afterwards. There is no `Debug`, as any value may be a secret.

use std::borrow::Cow;
use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

use super::units::{parse_duration, parse_size, show_duration, show_size};

/// A value and where it stands.
pub(super) type Given = Spanned<Leaf>;

/// A value by its YAML 1.2 type: `yes` and `off` are texts.
pub(super) enum Leaf {
    /// Nothing.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number from zero up.
    Whole(u64),
    /// Any other number, of which the text is lost: `15.0`, `-1`.
    Number,
    /// A text.
    Text(String),
    /// A list, each entry with its place.
    List(Vec<Given>),
    /// A map, which no setting is.
    Map,
}

/// Why a value is refused, and what would be right.
pub(super) struct Wrong(pub Cow<'static, str>);

impl Wrong {
    /// A refusal in fixed words.
    pub fn new<T>(text: &'static str) -> Result<T, Self> {
        Err(Self(Cow::Borrowed(text)))
    }

    fn range<T>(least: &str, most: &str) -> Result<T, Self> {
        Err(Self(Cow::Owned(format!("out of range; write {least} to {most}"))))
    }
}

/// The text, which a number is not: `15.10` would have become 15.1 on the way.
pub(super) fn text(value: &Leaf) -> Result<&str, Wrong> {
    match value {
        Leaf::Text(text) => Ok(text),
        Leaf::Whole(_) | Leaf::Number | Leaf::Bool(_) => {
            Wrong::new("a number or a boolean where a text is needed; put it in single quotes")
        }
        Leaf::Null | Leaf::List(_) | Leaf::Map => Wrong::new("a list or a map where one text is needed"),
    }
}

/// `true` or `false`.
pub(super) fn flag(value: &Leaf) -> Result<bool, Wrong> {
    match value {
        Leaf::Bool(flag) => Ok(*flag),
        _ => Wrong::new("not a boolean; write true or false, without quotes"),
    }
}

/// A whole number within `allowed`.
pub(super) fn count(allowed: RangeInclusive<u64>) -> impl Fn(&Leaf) -> Result<u64, Wrong> {
    move |value| match value {
        Leaf::Whole(number) if allowed.contains(number) => Ok(*number),
        Leaf::Whole(_) => Wrong::range(&allowed.start().to_string(), &allowed.end().to_string()),
        _ => Wrong::new("not a whole number; write it in digits only, such as 2000"),
    }
}

/// A size in bytes within `allowed`.
pub(super) fn size(allowed: RangeInclusive<u64>) -> impl Fn(&Leaf) -> Result<u64, Wrong> {
    move |value| {
        let bytes = match value {
            Leaf::Whole(bytes) => Some(*bytes),
            Leaf::Text(text) => parse_size(text),
            _ => None,
        };
        match bytes {
            Some(bytes) if allowed.contains(&bytes) => Ok(bytes),
            Some(_) => Wrong::range(&show_size(*allowed.start()), &show_size(*allowed.end())),
            None => Wrong::new("not a size; write a number with a unit, such as 8 MiB, 500 MB or 1 GiB"),
        }
    }
}

/// A duration within `allowed`.
pub(super) fn duration(allowed: RangeInclusive<Duration>) -> impl Fn(&Leaf) -> Result<Duration, Wrong> {
    move |value| {
        let length = match value {
            Leaf::Text(text) => parse_duration(text),
            _ => None,
        };
        match length {
            Some(length) if allowed.contains(&length) => Ok(length),
            Some(_) => Wrong::range(&show_duration(*allowed.start()), &show_duration(*allowed.end())),
            None => Wrong::new(
                "not a duration; write a number with a unit of ms, s, m (minutes), h or d, such as 250ms, 15m, 12h \
                 or 730d",
            ),
        }
    }
}

/// One of a few words, each with its meaning.
pub(super) fn word<T: Copy>(words: &[(&str, T)]) -> impl Fn(&Leaf) -> Result<T, Wrong> {
    move |value| {
        let given = text(value).unwrap_or_default();
        let found = words.iter().find(|(word, _)| *word == given);
        found.map(|(_, meaning)| *meaning).ok_or_else(|| {
            let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            Wrong(Cow::Owned(format!("not one of the words known here; write one of: {}", words.join(", "))))
        })
    }
}

impl<'de> Deserialize<'de> for Leaf {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(LeafVisitor)
    }
}

struct LeafVisitor;

impl<'de> Visitor<'de> for LeafVisitor {
    type Value = Leaf;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any YAML value")
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Leaf, E> {
        Ok(Leaf::Bool(flag))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Leaf, E> {
        Ok(u64::try_from(number).map_or(Leaf::Number, Leaf::Whole))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Leaf, E> {
        Ok(Leaf::Whole(number))
    }

    fn visit_i128<E>(self, _: i128) -> Result<Leaf, E> {
        Ok(Leaf::Number)
    }

    fn visit_u128<E>(self, _: u128) -> Result<Leaf, E> {
        Ok(Leaf::Number)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Leaf, E> {
        Ok(Leaf::Number)
    }

    fn visit_str<E>(self, text: &str) -> Result<Leaf, E> {
        Ok(Leaf::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Leaf, E> {
        Ok(Leaf::Text(text))
    }

    fn visit_bytes<E>(self, _: &[u8]) -> Result<Leaf, E> {
        Ok(Leaf::Map)
    }

    fn visit_unit<E>(self) -> Result<Leaf, E> {
        Ok(Leaf::Null)
    }

    fn visit_none<E>(self) -> Result<Leaf, E> {
        Ok(Leaf::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Leaf, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Leaf, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = list.next_element()? {
            entries.push(entry);
        }
        Ok(Leaf::List(entries))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Leaf, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Leaf::Map)
    }
}
