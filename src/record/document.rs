//! A config file as a tree that is read by the paths of the catalogue alone.
//!
//! Why an own tree: a config file holds passwords, hosts and tokens, and promise 7 says that no
//! byte of it leaves except the values that the catalogue names. So the tree gives the node at one
//! dotted path and nothing else, has no `Display` and a `Debug` that shows no scalar, and the
//! errors of this module name the file, the line and the cause, never the text of a line.
//!
//! Invariants:
//! - Only regular files of at most [`MAX_BYTES`] are read.
//! - YAML comes in through [`crate::yaml`], with its types and bounds.
//! - A file that cannot be read as a document is an error here, never an empty document: only a
//!   document can withdraw consent.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::read_limited::{self, Unreadable};
use crate::yaml::{self, Bounds, YamlError, YamlErrorKind};

/// The largest config file that is read. The real templates have at most 70 KB.
pub const MAX_BYTES: u64 = 4 * 1024 * 1024;

/// Room for the largest file that is read, if it holds 40 bytes a node.
const BOUNDS: Bounds = Bounds { nodes: 100_000, leading_zeros_are_text: false };

/// A node of a config document.
#[derive(Clone, PartialEq)]
pub enum Node {
    /// `null`, `~` or nothing at all.
    Null,
    /// `true` or `false` in one of YAML's three spellings.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Any text, and numbers that are not whole.
    Text(String),
    /// A list, of which only the length is kept.
    List(usize),
    /// A map. Keys that are not scalars are dropped, since no path can name them.
    Map(BTreeMap<String, Node>),
}

impl Node {
    /// The node at a dotted path such as `heartbeat.enable`.
    pub fn at(&self, path: &str) -> Option<&Node> {
        path.split('.').try_fold(self, |node, key| match node {
            Node::Map(map) => map.get(key),
            _ => None,
        })
    }

    /// Lays `other` over this document as Node's config library does: maps deep, everything else
    /// replaced.
    pub fn merge(&mut self, other: Node) {
        match (self, other) {
            (Node::Map(under), Node::Map(over)) => {
                for (key, value) in over {
                    match under.get_mut(&key) {
                        Some(node) => node.merge(value),
                        None => {
                            under.insert(key, value);
                        }
                    }
                }
            }
            (node, value) => *node = value,
        }
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Node::Null => "null",
            Node::Bool(_) => "a boolean",
            Node::Int(_) => "a number",
            Node::Text(_) => "a text",
            Node::List(_) => "a list",
            Node::Map(_) => "a map",
        })
    }
}

/// The files of an instance, laid over each other.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    pub root: Node,
    /// Each file ends in a line break. One that does not may have been cut off within a word.
    pub ends_whole: bool,
}

/// A config file could not be read as a document. The error holds no text of the file.
#[derive(Debug, thiserror::Error)]
#[error("{}: {cause}", file.display())]
pub struct ReadError {
    pub file: PathBuf,
    pub cause: Cause,
}

/// The cause and the next step.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Cause {
    #[error(transparent)]
    File(#[from] Unreadable),
    /// No content, or comments only.
    #[error("the file is empty (or half written); it is read again when it changes")]
    Empty,
    /// Not one YAML document. Line and column count from 1.
    #[error("line {line}, column {column}: {what}")]
    Syntax { line: u64, column: u64, what: &'static str },
}

/// Reads `files` and lays them over each other.
pub fn read(files: &[PathBuf]) -> Result<Document, ReadError> {
    lay(files.iter().map(|file| (file, read_limited::read_text(file, MAX_BYTES))))
}

/// Lays the texts of files over each other in order, the later over the earlier. Pure.
pub fn lay<'a, T: AsRef<str>>(
    texts: impl IntoIterator<Item = (&'a PathBuf, Result<T, Unreadable>)>,
) -> Result<Document, ReadError> {
    let mut document = Document { root: Node::Null, ends_whole: true };
    for (file, text) in texts {
        let at = |cause| ReadError { file: file.clone(), cause };
        let text = text.map_err(|cause| at(cause.into()))?;
        let text = text.as_ref();
        document.root.merge(parse(text).map_err(at)?);
        document.ends_whole &= text.ends_with('\n');
    }
    Ok(document)
}

/// Parses one YAML document. Pure.
pub fn parse(text: &str) -> Result<Node, Cause> {
    match yaml::parse::<Node>(text, &BOUNDS) {
        Ok(Node::Null) => Err(Cause::Empty),
        Ok(node) => Ok(node),
        Err(YamlError { kind: YamlErrorKind::Empty, .. }) => Err(Cause::Empty),
        Err(YamlError { at, kind }) => {
            let (line, column) = at.map_or((1, 1), |at| (at.line, at.column));
            Err(Cause::Syntax { line, column, what: kind.words() })
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any YAML value")
    }

    fn visit_bool<E>(self, v: bool) -> Result<Node, E> {
        Ok(Node::Bool(v))
    }

    fn visit_i64<E>(self, v: i64) -> Result<Node, E> {
        Ok(Node::Int(v))
    }

    fn visit_u64<E>(self, v: u64) -> Result<Node, E> {
        Ok(i64::try_from(v).map_or_else(|_| Node::Text(v.to_string()), Node::Int))
    }

    fn visit_f64<E>(self, v: f64) -> Result<Node, E> {
        Ok(Node::Text(v.to_string()))
    }

    fn visit_str<E>(self, v: &str) -> Result<Node, E> {
        Ok(Node::Text(v.to_owned()))
    }

    fn visit_string<E>(self, v: String) -> Result<Node, E> {
        Ok(Node::Text(v))
    }

    fn visit_bytes<E>(self, _: &[u8]) -> Result<Node, E> {
        Ok(Node::Text(String::new()))
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Node, A::Error> {
        let mut length = 0;
        while seq.next_element::<IgnoredAny>()?.is_some() {
            length += 1;
        }
        Ok(Node::List(length))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut nodes = BTreeMap::new();
        while let Some((key, value)) = map.next_entry::<Node, Node>()? {
            let key = match key {
                Node::Text(text) => text,
                Node::Bool(flag) => flag.to_string(),
                Node::Int(number) => number.to_string(),
                Node::Null => "null".to_owned(),
                Node::List(_) | Node::Map(_) => continue,
            };
            nodes.insert(key, value);
        }
        Ok(Node::Map(nodes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cause(text: &str) -> Cause {
        parse(text).unwrap_err()
    }

    #[test]
    fn only_booleans_are_booleans() {
        let node = parse("a: {t: true, y: yes, o: on, q: 'true', n: 1, e: }\r\nl: [1, 2]\r\n").unwrap();
        assert!(node.at("a.t") == Some(&Node::Bool(true)));
        for key in ["a.y", "a.o", "a.q"] {
            assert!(matches!(node.at(key), Some(Node::Text(_))), "{key}");
        }
        assert!(node.at("a.n") == Some(&Node::Int(1)));
        assert!(node.at("a.e") == Some(&Node::Null));
        assert!(node.at("l") == Some(&Node::List(2)));
        assert!(node.at("a.t.deeper").is_none());
    }

    #[test]
    fn errors_name_the_line_and_never_quote_it() {
        let texts = [
            "Butler:\n  password: hunter2\n  password: hunter2\n",
            "Butler:\n  password: 'hunter2\n",
            "Butler:\n\tpassword: hunter2\n",
            "Butler: {password: hunter2",
            "hunter2: *hunter2\n",
            "a: hunter2\n---\nb: hunter2\n",
        ];
        for text in texts {
            let cause = cause(text);
            assert!(matches!(cause, Cause::Syntax { .. }), "{cause:?}");
            assert!(!format!("{cause} {cause:?}").contains("hunter2"), "{cause}");
        }
        assert!(matches!(cause(texts[0]), Cause::Syntax { line: 3, .. }), "{:?}", cause(texts[0]));
        assert!(cause(texts[5]).to_string().contains("a second document starts"), "{}", cause(texts[5]));
        assert!(!format!("{:?}", parse("p: hunter2").unwrap()).contains("hunter2"));
    }

    #[test]
    fn nothing_at_all_is_empty_and_not_a_document() {
        for text in ["", "\n\n", "# only a comment\n", "---\n"] {
            assert_eq!(cause(text), Cause::Empty, "{text:?}");
        }
    }

    #[test]
    fn a_yaml_bomb_is_refused_in_bounded_memory() {
        let mut bomb = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
        for i in 1..12 {
            bomb += &format!("a{i}: &a{i} [{}]\n", vec![format!("*a{}", i - 1); 10].join(","));
        }
        let refused = cause(&bomb);
        assert!(refused.to_string().contains("aliases, nesting or size"), "{refused}");
        let deep = "[".repeat(100_000);
        assert!(matches!(cause(&deep), Cause::Syntax { .. }));
    }

    #[test]
    fn later_files_win_key_by_key_and_lists_are_replaced() {
        let mut under = parse("B: {a: true, b: {c: 1}, l: [1, 2, 3]}").unwrap();
        under.merge(parse("B: {b: {d: 2}, l: [9]}").unwrap());
        assert!(under == parse("B: {a: true, b: {c: 1, d: 2}, l: [9]}").unwrap());
    }
}
