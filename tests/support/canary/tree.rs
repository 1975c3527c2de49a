//! Config files that nobody would write: at the places where the catalogue looks, anything that YAML can say.
//!
//! Why the catalogue's own paths: these are the only places from which a value can leave, so this is where a value of the
//! wrong type, tag or layout has to be turned away. A file depends on its seed alone.

use fastrand::Rng;
use salver::record::catalogue::{Catalogue, Field, Rule, Service};

use super::Canaries;
use super::search::encoded;

/// A generated file, and what is to be said of it in the settings.
#[derive(Clone, Debug)]
pub struct Generated {
    /// The release that reads it.
    pub version: String,
    /// The file.
    pub text: String,
}

/// Releases of all generations, as far as they have fixtures, and one to come.
const RELEASES: [(&str, [&str; 5]); 2] = [
    ("butler", ["5.1.0", "9.3.0", "13.0.0", "15.1.0", "99.0.0"]),
    ("butler-sos", ["5.6.0", "10.2.0", "13.0.0", "15.0.0", "99.0.0"]),
];

/// The file of this seed. Consent is given in it.
pub fn grow(seed: u64, catalogue: &Catalogue, canaries: &mut Canaries) -> Generated {
    canaries.at(format!("seed {seed}"));
    let mut rng = Rng::with_seed(seed);
    let (name, releases) = RELEASES[rng.usize(..RELEASES.len())];
    let service = catalogue.service(name).unwrap();
    let tree = skeleton(service, &mut rng);
    let mut writer = Writer { seed, rng, canaries, anchors: Vec::new(), place: Vec::new() };
    let mut text = writer.top(service, tree);
    if writer.rng.u8(..4) == 0 {
        text = text.replace('\n', "\r\n");
    }
    let version = releases[writer.rng.usize(..releases.len())].to_owned();
    Generated { version, text }
}

/// The shape of a file, before anything is written into its leaves.
enum Tree {
    Leaf,
    /// A leaf where a number or a version may leave: one that is neither, but close.
    Version,
    /// Written as it is.
    Fixed(&'static str),
    Map(Vec<(String, Tree)>),
}

/// Most of the paths that the catalogue names, in a random order: of two that contradict each other the first one counts.
fn skeleton(service: &Service, rng: &mut Rng) -> Tree {
    let fields = service.fields.iter().flat_map(|field| field.paths.iter().chain(&field.when));
    let off = service.consent.off_when_false.iter().map(|source| &source.path);
    let host = service.identity_host.iter().map(|source| &source.path);
    let mut paths: Vec<&String> = fields.chain(off).chain(host).filter(|_| rng.u8(..10) > 0).collect();
    rng.shuffle(&mut paths);
    let mut map = vec![(service.consent.key.clone(), Tree::Fixed("true"))];
    for path in paths {
        let is_version = |field: &Field| field.rule == Rule::Version && field.paths.contains(path);
        put(&mut map, path, service.fields.iter().any(is_version));
    }
    rng.shuffle(&mut map);
    Tree::Map(map)
}

fn put(map: &mut Vec<(String, Tree)>, path: &str, is_version: bool) {
    let (key, rest) = path.split_once('.').map_or((path, None), |(key, rest)| (key, Some(rest)));
    let at = map.iter().position(|(known, _)| known == key).unwrap_or_else(|| {
        let below = match rest {
            Some(_) => Tree::Map(Vec::new()),
            None if is_version => Tree::Version,
            None => Tree::Leaf,
        };
        map.push((key.to_owned(), below));
        map.len() - 1
    });
    if let (Some(rest), Tree::Map(below)) = (rest, &mut map[at].1) {
        put(below, rest, is_version);
    }
}

/// Writes a tree, and invents what stands in its leaves.
struct Writer<'c> {
    seed: u64,
    rng: Rng,
    canaries: &'c mut Canaries,
    /// The anchors so far, which an alias may name.
    anchors: Vec<String>,
    /// The keys above.
    place: Vec<String>,
}

impl Writer<'_> {
    fn top(&mut self, service: &Service, tree: Tree) -> String {
        let head = ["", "---\n", "%YAML 1.2\n---\n", "\u{feff}"][self.rng.usize(..4)];
        let comment = self.text();
        let before = if self.rng.bool() { self.odd_entry(0) } else { String::new() };
        let block = self.tree(2, tree);
        let foot = ["", "...\n"][self.rng.usize(..2)];
        format!("{head}# {comment}\n{before}{}:{block}{foot}", service.top_level_key)
    }

    fn text(&mut self) -> String {
        self.canaries.text()
    }

    /// What stands behind a key and its colon, with the end of the line.
    fn tree(&mut self, indent: usize, tree: Tree) -> String {
        match tree {
            Tree::Fixed(text) => format!(" {text}\n"),
            Tree::Leaf => self.block_leaf(indent),
            Tree::Version => format!(" {}\n", self.version()),
            Tree::Map(map) if indent > 2 && self.rng.u8(..6) == 0 => format!(" {}\n", self.flow_map(map)),
            Tree::Map(map) => {
                let odd = self.rng.usize(..=map.len() * 2);
                let mut text = format!(" # {}\n", self.text());
                for (number, (key, below)) in map.into_iter().enumerate() {
                    if number == odd {
                        text += &self.odd_entry(indent);
                    }
                    let indentation = " ".repeat(indent);
                    let written = self.written(&key);
                    text += &format!(
                        "{indentation}{written}:{}",
                        self.below(key, |it| it.tree(indent + 3, below))
                    );
                }
                text
            }
        }
    }

    /// Names the key as part of the place of what is written below it.
    fn below(&mut self, key: String, write: impl FnOnce(&mut Self) -> String) -> String {
        self.place.push(key);
        self.canaries.at(format!("seed {}, {}", self.seed, self.place.join(".")));
        let text = write(self);
        self.place.pop();
        text
    }

    /// A known key, in one of the ways to write it.
    fn written(&mut self, key: &str) -> String {
        match self.rng.u8(..4) {
            0 => format!("'{key}'"),
            1 => format!("\"{key}\""),
            _ => key.to_owned(),
        }
    }

    /// An entry whose key nothing can name.
    fn odd_entry(&mut self, indent: usize) -> String {
        let indentation = " ".repeat(indent);
        let key = match self.rng.u8(..7) {
            0 => self.text(),
            1 => format!("'{} with: # {}'", self.text(), self.text()),
            2 => self.canaries.number().to_string(),
            3 => format!("? [{}, {{{}: {}}}]\n{indentation}", self.text(), self.text(), self.text()),
            4 => format!("&{} {}", self.text(), self.text()),
            5 => format!("!{} {}", self.text(), self.text()),
            _ => format!("\u{43a}\u{43b}\u{44e}\u{447} {}", self.text()),
        };
        format!("{indentation}{key}:{}", self.block_leaf(indent + 1))
    }

    fn flow_map(&mut self, map: Vec<(String, Tree)>) -> String {
        let mut entries = vec![format!("{}: {}", self.text(), self.text())];
        for (key, below) in map {
            let written = self.written(&key);
            let value = self.below(key, |it| match below {
                Tree::Fixed(text) => text.to_owned(),
                Tree::Leaf => it.flow_leaf(),
                Tree::Version => it.version(),
                Tree::Map(map) => it.flow_map(map),
            });
            entries.push(format!("{written}: {value}"));
        }
        format!("{{{}}}", entries.join(", "))
    }

    /// A value that may need lines of its own.
    fn block_leaf(&mut self, indent: usize) -> String {
        let lines = format!("\n{}", " ".repeat(indent));
        let mut next = || self.canaries.text();
        match self.rng.u8(..24) {
            0 => format!(" | # {}{lines}{}{lines}  # {}\n", next(), next(), next()),
            1 => format!(" >-{lines}{}{lines}true{lines}{}\n", next(), next()),
            2 => format!(" {}{lines}{}{lines}{}\n", next(), next(), next()),
            3 => format!(" \"{}{lines}{} \\{lines}{}\"\n", next(), next(), next()),
            4 => format!("{lines}- {}{lines}- {{{}: {}}}{lines}-\n", next(), next(), next()),
            5 => format!(" !{} # {}{lines}{}: {}\n", next(), next(), next(), next()),
            6 => format!("{lines}true # {}\n", next()),
            _ => {
                let leaf = self.flow_leaf();
                format!(" {leaf} # {}\n", self.text())
            }
        }
    }

    /// A value on one line, which may stand between braces as well.
    fn flow_leaf(&mut self) -> String {
        if self.rng.u8(..12) == 0 && !self.anchors.is_empty() {
            return format!("*{} ", self.anchors[self.rng.usize(..self.anchors.len())]);
        }
        let look = self.rng.u8(..20);
        if (6..12).contains(&look) {
            return self.number(look);
        }
        let mut next = || self.canaries.text();
        match look {
            0 => next(),
            1 => format!("'it''s {}'", next()),
            2 => {
                format!("\"{}\"", next().chars().map(|c| format!("\\u{:04x}", c as u32)).collect::<String>())
            }
            3 => format!("\"\\x00\\e[31m{}\\u2028\\\"\\\\\"", next()),
            4 => format!("[{}, {{{}: {}}}, [], {}]", next(), next(), next(), self.canaries.number()),
            5 => format!("{{enable: {}, {}: {}}}", next(), next(), self.canaries.number()),
            12 => self.version(),
            13 => format!("!{} {}", next(), next()),
            14 => format!("!<tag:{}.example,2000:{}> {}", next(), next(), next()),
            15 => {
                self.anchors.push(next());
                format!("&{} {}", self.anchors[self.anchors.len() - 1], next())
            }
            16 => format!("{}{}{}", "[".repeat(20), next(), "]".repeat(20)),
            17 => {
                format!("!!binary {}", String::from_utf8_lossy(&encoded(format!("{}zz", next()).as_bytes())))
            }
            18 => format!("!!str {}", next()),
            _ => "true".to_owned(),
        }
    }

    fn version(&mut self) -> String {
        match self.rng.u8(..6) {
            0 => format!("1.0.0-{}", self.text()),
            1 => format!("'1.0.0+{}'", self.text()),
            2 => format!("1.2.3-{}.{}", self.text(), self.canaries.number()),
            3 => format!("1.{}", self.canaries.number()),
            _ => {
                let look = self.rng.u8(6..12);
                self.number(look)
            }
        }
    }

    fn number(&mut self, look: u8) -> String {
        let number = self.canaries.number();
        match look {
            6 => format!("{number}"),
            7 => format!("-{number}.5"),
            8 => format!("{number:#x}"),
            9 => format!("{number}e3"),
            10 => format!("{number}00000000"),
            _ => format!("{number}.1"),
        }
    }
}
