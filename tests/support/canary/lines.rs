//! The lines of a YAML file in block style, as far as planting must tell their parts apart.
//!
//! Why lines and not a YAML library: a file that was read and written again has lost its comments, its quotes and its layout,
//! and these are places where a canary must sit. It knows what real config files of the two tools use; that a planted file
//! still says what it said is for the tests to check, with a real parser.

/// One line, in its parts as they are written.
#[derive(Clone, Copy, Debug)]
pub struct Line<'t> {
    /// Indentation and dashes.
    pub before: &'t str,
    /// The key, without its colon.
    pub key: Option<&'t str>,
    /// The value; empty where there is none on this line.
    pub value: &'t str,
}

impl<'t> Line<'t> {
    /// Takes a line apart.
    pub fn of(text: &'t str) -> Line<'t> {
        let (before, rest) = text.split_at(dashes_end(text));
        let (key, rest) = match key_end(rest) {
            Some(end) => (Some(&rest[..end]), rest[end + 1..].trim_start()),
            None => (None, rest),
        };
        let end = value_end(rest);
        Line { before, key, value: rest[..end].trim_end() }
    }

    /// The column of the key, or of the value where there is no key.
    pub fn column(&self) -> usize {
        self.before.len()
    }

    /// Whether it starts an entry of a list.
    pub fn is_entry(&self) -> bool {
        self.before.contains('-')
    }

    /// Whether there is anything but a comment.
    pub fn has_content(&self) -> bool {
        self.is_entry() || self.key.is_some() || !self.value.is_empty()
    }
}

/// How many spaces a line begins with.
pub fn indentation(text: &str) -> usize {
    text.len() - text.trim_start_matches(' ').len()
}

fn dashes_end(text: &str) -> usize {
    let mut at = indentation(text);
    while text[at..].starts_with("- ") || &text[at..] == "-" {
        at += 1;
        at += indentation(&text[at..]);
    }
    at
}

/// Where the colon of a key is, if there is a key.
fn key_end(text: &str) -> Option<usize> {
    if text.starts_with(['\'', '"']) {
        let end = quoted_end(text);
        return text[end..].starts_with(':').then_some(end);
    }
    if text.starts_with(['#', '[', '{', '&', '*', '!', '|', '>']) {
        return None;
    }
    let plain = &text[..comment_start(text)];
    plain.find(": ").or_else(|| plain.trim_end().ends_with(':').then(|| plain.trim_end().len() - 1))
}

/// Where a value ends: at the comment or at the end of the line.
fn value_end(text: &str) -> usize {
    let start = match text.chars().next() {
        Some('#') => return 0,
        Some('\'' | '"') => quoted_end(text),
        _ => 0,
    };
    start + comment_start(&text[start..])
}

fn comment_start(text: &str) -> usize {
    text.find(" #").unwrap_or(text.len())
}

/// Where a quoted text at the beginning ends, behind its closing quote.
fn quoted_end(text: &str) -> usize {
    let quote = text.as_bytes()[0];
    let mut escaped = false;
    let is_end = |byte: &u8| {
        let ends = *byte == quote && !escaped;
        escaped = *byte == b'\\' && quote == b'"' && !escaped;
        ends
    };
    // Two quotes in a row stand for one: between them nothing is lost if they are taken for two texts.
    let end = 2 + text.bytes().skip(1).collect::<Vec<_>>().iter().position(is_end).expect("a closing quote");
    match text[end..].starts_with('\'') && quote == b'\'' {
        true => end + quoted_end(&text[end..]),
        false => end,
    }
}
