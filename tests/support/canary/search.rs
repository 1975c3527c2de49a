//! The search for every canary, in the forms in which a leak could carry it.
//!
//! Each canary is a pattern of its own, in any case of its letters and as hex, and exactly as base64 at each of the three
//! places where it can begin in a group, as UTF-16, and, for a number, as the machine words in which a spool could hold it.
//! Escaping for JSON does not change letters and digits, so it needs no form of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use aho_corasick::{AhoCorasick, AhoCorasickBuilder, MatchKind};

use super::{Canaries, Canary, STEM};
use crate::support::hex;

/// How many findings of one channel a report shows.
const SHOWN: usize = 10;

/// How a canary was written where it was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Form {
    /// As it was planted, apart from upper and lower case.
    Text,
    /// The hex digits of its bytes, or of the number.
    Hex,
    /// As part of a base64 text.
    Base64,
    /// Two bytes a letter, as Windows writes texts.
    Utf16,
    /// A number in eight bytes.
    Word,
}

/// Looks for all canaries at once.
pub struct Search<'c> {
    canaries: &'c [Canary],
    any_case: Patterns,
    exact: Patterns,
}

/// Patterns, and which canary in which form each of them is; `None` for the stem of all.
struct Patterns {
    automaton: AhoCorasick,
    of: Vec<(Option<usize>, Form)>,
}

impl Patterns {
    fn new(any_case: bool, patterns: Vec<(Vec<u8>, Option<usize>, Form)>) -> Patterns {
        // The longest wins, so that the stem is found only where no whole canary is.
        let automaton = AhoCorasickBuilder::new()
            .match_kind(MatchKind::LeftmostLongest)
            .ascii_case_insensitive(any_case)
            .build(patterns.iter().map(|(bytes, ..)| bytes))
            .unwrap();
        Patterns { automaton, of: patterns.into_iter().map(|(_, canary, form)| (canary, form)).collect() }
    }
}

/// What was found: for each channel the canaries in it.
#[derive(Debug, Default)]
pub struct Findings {
    channels: BTreeMap<String, BTreeMap<(String, Form), String>>,
}

impl<'c> Search<'c> {
    /// A search for these, and for their stem.
    pub fn new(canaries: &'c Canaries) -> Search<'c> {
        let mut any_case = vec![(STEM.into(), None, Form::Text)];
        let mut exact = Vec::new();
        for form in base64(STEM.as_bytes()) {
            exact.push((form, None, Form::Base64));
        }
        for (at, canary) in canaries.all().iter().enumerate() {
            let text = canary.text.as_bytes();
            any_case.push((text.to_vec(), Some(at), Form::Text));
            any_case.push((hex(text).into_bytes(), Some(at), Form::Hex));
            exact.extend(base64(text).into_iter().map(|form| (form, Some(at), Form::Base64)));
            exact.push((utf16(&canary.text), Some(at), Form::Utf16));
            if let Some(number) = canary.number {
                any_case.push((format!("{number:x}").into_bytes(), Some(at), Form::Hex));
                exact.extend(words(number).into_iter().map(|word| (word.to_vec(), Some(at), Form::Word)));
            }
        }
        let (any_case, exact) = (Patterns::new(true, any_case), Patterns::new(false, exact));
        Search { canaries: canaries.all(), any_case, exact }
    }

    /// Adds what a channel holds to the findings.
    pub fn look(&self, channel: &str, bytes: &[u8], findings: &mut Findings) {
        for patterns in [&self.any_case, &self.exact] {
            for found in patterns.automaton.find_iter(bytes) {
                let (canary, form) = patterns.of[found.pattern()];
                let (text, place) = match canary.map(|at| &self.canaries[at]) {
                    Some(canary) => (canary.text.clone(), canary.place.as_str()),
                    None => (format!("{STEM}..."), "any of them"),
                };
                let around = &bytes[found.start().saturating_sub(60)..bytes.len().min(found.end() + 40)];
                let around = String::from_utf8_lossy(around).escape_debug().to_string();
                let held = findings.channels.entry(channel.to_owned()).or_default();
                held.entry((text, form)).or_insert_with(|| format!("(planted in {place}): {around}"));
            }
        }
    }
}

impl Findings {
    /// Whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.channels.is_empty()
    }

    /// The channels that hold this canary, in whatever form.
    pub fn channels_with(&self, canary: &str) -> BTreeSet<&str> {
        let holds = |held: &BTreeMap<(String, Form), String>| held.keys().any(|(text, _)| text == canary);
        self.channels.iter().filter(|(_, held)| holds(held)).map(|(channel, _)| channel.as_str()).collect()
    }

    /// The forms of this canary in a channel.
    pub fn forms(&self, channel: &str, canary: &str) -> Vec<Form> {
        let held = self.channels.get(channel).into_iter().flat_map(BTreeMap::keys);
        held.filter(|(text, _)| text == canary).map(|(_, form)| *form).collect()
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (channel, held) in &self.channels {
            writeln!(f, "{channel}: {} leaked", held.len())?;
            for ((text, form), whence) in held.iter().take(SHOWN) {
                writeln!(f, "    {text} as {form:?} {whence}")?;
            }
        }
        Ok(())
    }
}

/// As Windows writes it.
fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// The eight bytes in which a number may lie in a file: as it is, doubled as bincode writes a signed one, as a float with and
/// without its half, and each of them below zero.
fn words(number: u64) -> [[u8; 8]; 9] {
    let signed = number as i64;
    let float = number as f64;
    [
        number.to_le_bytes(),
        number.to_be_bytes(),
        (2 * number).to_le_bytes(),
        (2 * number - 1).to_le_bytes(),
        (-signed).to_le_bytes(),
        float.to_le_bytes(),
        (-float).to_le_bytes(),
        (float + 0.5).to_le_bytes(),
        (-float - 0.5).to_le_bytes(),
    ]
}

/// The base64 of a text that stands somewhere in a longer one: what its own bits decide, for each of the three ways in which
/// the groups of three bytes can lie.
fn base64(bytes: &[u8]) -> [Vec<u8>; 3] {
    [0, 1, 2].map(|before| {
        let shifted = [&vec![0; before], bytes].concat();
        let whole = encoded(&shifted);
        let first = (before * 8).div_ceil(6);
        let end = shifted.len() * 8 / 6;
        whole[first..end].to_vec()
    })
}

/// Base64 without the padding at its end.
pub fn encoded(bytes: &[u8]) -> Vec<u8> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits_of = |group: &[u8]| {
        let bits = group.iter().fold(0, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        let digits = [18, 12, 6, 0].map(|shift| DIGITS[(bits >> shift & 63) as usize]);
        digits[..=group.len()].to_vec()
    };
    bytes.chunks(3).flat_map(digits_of).collect()
}
