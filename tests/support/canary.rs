//! Canaries: values that no one else has, planted in config files so that wherever one of them turns up, it leaked, and it
//! tells from where.
//!
//! Why so many: a search for one word shows that one place is safe. Here each scalar, key, comment, anchor and tag of each
//! file has a canary of its own, so one that gets out names the file and the line it stood in.
//!
//! - [`planter`] puts them into real config files without touching their form, [`tree`] into generated ones.
//! - [`fleet`] is a server with instances full of them, and [`exercise`] all that salver can do with those.
//! - [`captured`] keeps what was said, kept and sent, by channel, and [`search`] looks for each canary in it.

pub mod captured;
pub mod exercise;
pub mod fleet;
pub mod lines;
pub mod planter;
pub mod printed;
pub mod relay;
pub mod search;
pub mod tree;

/// What each canary that is a text begins with. It stands nowhere else, so a canary that was cut off is found as well.
pub const STEM: &str = "canary";

/// The canaries that are numbers: 15 digits, so that a float holds them and their half exactly, and no version is as large.
const NUMBERS: u64 = 700_000_000_000_000;

/// One planted value.
#[derive(Clone, Debug)]
pub struct Canary {
    /// As it is searched for.
    pub text: String,
    /// The same as a number, for those that are one.
    pub number: Option<u64>,
    /// Where it was planted.
    pub place: String,
}

/// All that were planted, each with its place.
#[derive(Debug, Default)]
pub struct Canaries {
    place: String,
    all: Vec<Canary>,
}

impl Canaries {
    /// Says where the next ones are planted.
    pub fn at(&mut self, place: impl Into<String>) {
        self.place = place.into();
    }

    /// A new text. All have one length, so that none is part of another, and only letters and digits, which stay what they
    /// are in JSON, in a URL, in a shell and in Rust's `Debug`.
    pub fn text(&mut self) -> String {
        let text = format!("{STEM}{:06}z", self.all.len());
        self.declare(&text);
        text
    }

    /// A new number. Neighbours differ in many digits.
    pub fn number(&mut self) -> u64 {
        let number = NUMBERS + (self.all.len() as u64 * 7_368_787_411) % 99_999_999_977;
        self.all.push(Canary { text: number.to_string(), number: Some(number), place: self.place.clone() });
        number
    }

    /// Takes a text for a canary that was not made here.
    pub fn declare(&mut self, text: &str) {
        self.all.push(Canary { text: text.to_owned(), number: None, place: self.place.clone() });
    }

    /// Those planted so far.
    pub fn all(&self) -> &[Canary] {
        &self.all
    }
}
