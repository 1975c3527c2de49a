//! Plants canaries in a real config file, line by line, so that its layout, quotes, comments and
//! lists stay as they are.
//!
//! Whatever the way of planting, each comment becomes a canary and each line gets one. The
//! top-level key stays, and so does the consent except in [`Planting::Withdrawn`], so that salver
//! has a reason to read the rest.

use super::Canaries;
use super::lines::{Line, indentation};

/// The key of the consent, in both tools.
const CONSENT: &str = "anonTelemetry";

/// What becomes a canary besides the comments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planting {
    /// Every text; switches, counts and numbers stay, so that the tool's features are reported as
    /// they were.
    Texts,
    /// Every scalar, also where a switch, a number or nothing stood.
    Everything,
    /// Every scalar becomes a number.
    Numbers,
    /// Every scalar becomes a list or a map.
    Structures,
    /// Every scalar becomes what looks like a version.
    Versions,
    /// Every scalar gets an anchor, and every text a tag.
    Marks,
    /// Every map gets a further key.
    Keys,
    /// Every key becomes another.
    Renamed,
    /// Every scalar, and the consent with them.
    Withdrawn,
}

impl Planting {
    /// All of them.
    pub const ALL: [Planting; 9] = [
        Planting::Texts,
        Planting::Everything,
        Planting::Numbers,
        Planting::Structures,
        Planting::Versions,
        Planting::Marks,
        Planting::Keys,
        Planting::Renamed,
        Planting::Withdrawn,
    ];
}

/// The file with canaries in it. `name` says which file it is.
pub fn plant(name: &str, text: &str, planting: Planting, canaries: &mut Canaries) -> String {
    let texts: Vec<&str> = text.lines().collect();
    let lines = texts.iter().map(|text| Line::of(text)).collect();
    let mut planter =
        Planter { planting, canaries, lines, maps: Vec::new(), block: None, consent_follows: false, turn: 0 };
    let mut planted = String::new();
    for (number, text) in texts.iter().enumerate() {
        planter.canaries.at(format!("{name} ({planting:?}), line {}", number + 1));
        planted += &planter.line(number, text);
        planted += "\n";
    }
    planted
}

struct Planter<'a> {
    planting: Planting,
    canaries: &'a mut Canaries,
    lines: Vec<Line<'a>>,
    /// The columns of the maps around this line.
    maps: Vec<usize>,
    /// The column of the key whose block of text this line is in.
    block: Option<usize>,
    /// The consent's value stands on the next line.
    consent_follows: bool,
    /// Counts the values, so that they take turns in what they look like.
    turn: usize,
}

impl Planter<'_> {
    fn line(&mut self, number: usize, text: &str) -> String {
        let line = self.lines[number];
        if let Some(column) = self.block {
            if text.trim().is_empty() || indentation(text) > column {
                let written = text.trim_start();
                return format!("{}{}", " ".repeat(column + 2), self.block_line(written));
            }
            self.block = None;
        }
        let comment = self.canaries.text();
        if text.starts_with("---") {
            format!("--- # {comment}")
        } else if line.has_content() {
            format!("{} # {comment}", self.content(number, line))
        } else {
            format!("{}# {comment}", line.before)
        }
    }

    fn block_line(&mut self, written: &str) -> String {
        match self.planting {
            Planting::Keys | Planting::Renamed => written.to_owned(),
            _ => self.canaries.text(),
        }
    }

    fn content(&mut self, number: usize, line: Line) -> String {
        let consents = line.key == Some(CONSENT) || self.consent_follows;
        self.consent_follows = line.key == Some(CONSENT) && line.value.is_empty();
        let kept = consents && self.planting != Planting::Withdrawn;
        let opens = line.key.is_some() && self.opens_map(line);
        let more = match self.planting == Planting::Keys && opens {
            true => format!("{}{}: {}\n", line.before, self.canaries.text(), self.canaries.text()),
            false => String::new(),
        };
        // In a list the further key has taken the dash.
        let before = if more.is_empty() { line.before.to_owned() } else { " ".repeat(line.column()) };
        let key = match line.key {
            Some(_) if self.planting == Planting::Renamed && !kept && line.column() > 0 => {
                format!("{}:", self.canaries.text())
            }
            Some(key) => format!("{key}:"),
            None => String::new(),
        };
        let value = if kept { line.value.to_owned() } else { self.value(number, line) };
        let gap = if key.is_empty() || value.is_empty() { "" } else { " " };
        format!("{more}{before}{key}{gap}{value}")
    }

    /// Whether a key is the first of its map.
    fn opens_map(&mut self, line: Line) -> bool {
        let column = line.column();
        self.maps.retain(|&map| map < column || (map == column && !line.is_entry()));
        let opens = self.maps.last() != Some(&column);
        if opens {
            self.maps.push(column);
        }
        opens
    }

    fn value(&mut self, number: usize, line: Line) -> String {
        match line.value.chars().next() {
            None if self.goes_on(number) => String::new(),
            Some('|' | '>') => {
                self.block = Some(line.column());
                line.value.to_owned()
            }
            // An alias, and the anchor of what stands on the lines below.
            Some('*') => line.value.to_owned(),
            Some('&') if self.goes_on(number) => line.value.to_owned(),
            Some('[') if line.value != "[]" => {
                let entries = line.value.trim_matches(['[', ']']).split(',');
                let planted: Vec<String> = entries.map(|entry| self.scalar(entry.trim())).collect();
                format!("[{}]", planted.join(", "))
            }
            _ => self.scalar(line.value),
        }
    }

    /// Whether the value of a key stands on the lines below.
    fn goes_on(&self, number: usize) -> bool {
        let column = self.lines[number].column();
        let next = self.lines[number + 1..].iter().find(|line| line.has_content());
        next.is_some_and(|next| {
            let start = indentation(next.before);
            start > column || (start == column && next.is_entry())
        })
    }

    fn scalar(&mut self, written: &str) -> String {
        self.turn += 1;
        let is_text = !["", "~", "null", "true", "false", "[]", "{}"].contains(&written)
            && written.parse::<f64>().is_err();
        match self.planting {
            Planting::Texts if is_text => self.text(written),
            Planting::Everything | Planting::Withdrawn => self.text(written),
            Planting::Numbers => self.number(),
            Planting::Structures => self.structure(),
            Planting::Versions => self.version(),
            Planting::Marks if is_text => {
                format!("!{} &{} {}", self.canaries.text(), self.canaries.text(), self.text(written))
            }
            Planting::Marks => format!("&{} {written}", self.canaries.text()).trim_end().to_owned(),
            Planting::Texts | Planting::Keys | Planting::Renamed => written.to_owned(),
        }
    }

    /// In the quotes that stood there, or in one of the looks that a text can have.
    fn text(&mut self, written: &str) -> String {
        let canaries = &mut *self.canaries;
        let mut next = || canaries.text();
        match (written.chars().next(), self.turn % 6) {
            (Some('\''), _) => format!("'{}'", next()),
            (Some('"'), _) => format!("\"{}\"", next()),
            (_, 0) => next(),
            (_, 1) => format!("'it''s {}'", next()),
            (_, 2) => format!("\"say \\\"{}\\\" \\\\ \\u00fc\\n\\t{}\"", next(), next()),
            (_, 3) => format!("https://{}:{}@{}.example/{}", next(), next(), next(), next()),
            (_, 4) => format!("true {}", next()),
            _ => format!("\u{2705} {} \u{fc}", next()),
        }
    }

    fn number(&mut self) -> String {
        let number = self.canaries.number();
        match self.turn % 6 {
            0 => format!("{number}"),
            1 => format!("-{number}"),
            2 => format!("{number:#x}"),
            3 => format!("{number}.5"),
            4 => format!("{number}e3"),
            // Beyond 64 bits.
            _ => format!("{number}000000"),
        }
    }

    fn structure(&mut self) -> String {
        let mut next = || self.canaries.text();
        match self.turn % 3 {
            0 => format!("[{}, {}, {{{}: {}}}]", next(), next(), next(), next()),
            1 => format!("{{{}: {}, enable: {}}}", next(), next(), next()),
            _ => format!("{{? [{}, {}] : {{{}: [{}]}}}}", next(), next(), next(), next()),
        }
    }

    fn version(&mut self) -> String {
        match self.turn % 6 {
            0 => format!("1.0.0-{}", self.canaries.text()),
            1 => format!("1.0.0+{}", self.canaries.text()),
            2 => format!("'{} 2.7.1'", self.canaries.text()),
            3 => format!("2.7.{}", self.canaries.text()),
            4 => format!("2.{}", self.canaries.number()),
            _ => format!("1.2.3-rc.{}", self.canaries.number()),
        }
    }
}
