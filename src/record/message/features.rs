//! The features in their nested form, from the dotted paths of a layout.
//!
//! The result is the same as when JavaScript sets the paths one after the other in an object:
//! - a key keeps the position of its first appearance;
//! - a later value replaces an earlier one;
//! - a path below a plain value is left out.

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::{Draft, ReportedValue, Value, reported_value};

/// The features of a draft, as one tree.
#[derive(Clone, Debug)]
pub struct EnabledFeatures<'a> {
    /// All objects, the outermost first. A [`FeatureNode::Object`] is an index into this list.
    objects: Vec<Vec<(&'a str, FeatureNode<'a>)>>,
}

#[derive(Clone, Copy, Debug)]
enum FeatureNode<'a> {
    Value(ReportedValue<'a>),
    Object(usize),
}

impl<'a> EnabledFeatures<'a> {
    pub fn of(draft: &'a Draft) -> Self {
        let mut features = EnabledFeatures { objects: vec![Vec::new()] };
        for (slot, value) in draft.layout.slots.iter().zip(&draft.values) {
            if let (Some(path), Some(value)) = (&slot.nested, reported_value(slot, value)) {
                features.set(path, value);
            }
        }
        features
    }

    fn set(&mut self, path: &'a str, value: ReportedValue<'a>) {
        let mut at = 0;
        let mut rest = path;
        while let Some((head, below)) = rest.split_once('.') {
            let node = match self.find(at, head) {
                Some(place) => self.objects[at][place].1,
                None => {
                    let node = self.object();
                    self.objects[at].push((head, node));
                    node
                }
            };
            let FeatureNode::Object(next) = node else { return };
            (at, rest) = (next, below);
        }
        let node = if *value.0 == Value::Object { self.object() } else { FeatureNode::Value(value) };
        match self.find(at, rest) {
            Some(place) => self.objects[at][place].1 = node,
            None => self.objects[at].push((rest, node)),
        }
    }

    /// Searches from the end, since related slots are neighbours.
    fn find(&self, at: usize, key: &str) -> Option<usize> {
        self.objects[at].iter().rposition(|(name, _)| *name == key)
    }

    /// A new empty object, not yet part of another.
    fn object(&mut self) -> FeatureNode<'a> {
        self.objects.push(Vec::new());
        FeatureNode::Object(self.objects.len() - 1)
    }
}

impl Serialize for EnabledFeatures<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Object { all: self, at: 0 }.serialize(serializer)
    }
}

struct Object<'f, 'a> {
    all: &'f EnabledFeatures<'a>,
    at: usize,
}

impl Serialize for Object<'_, '_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (key, node) in &self.all.objects[self.at] {
            match node {
                FeatureNode::Value(value) => map.serialize_entry(key, value)?,
                FeatureNode::Object(at) => map.serialize_entry(key, &Object { all: self.all, at: *at })?,
            }
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::message::line;

    #[test]
    fn paths_that_meet_give_what_they_give_in_javascript() {
        let cases: [(&[(&str, Value)], &str); 5] = [
            (
                &[("a.b", Value::Int(1)), ("c", Value::Null), ("a.d", Value::Bool(true))],
                r#"{"a":{"b":1,"d":true},"c":null}"#,
            ),
            (&[("a", Value::Int(1)), ("b", Value::Int(2)), ("a", Value::Int(3))], r#"{"a":3,"b":2}"#),
            (&[("a", Value::Int(1)), ("a.b", Value::Int(2))], r#"{"a":1}"#),
            (&[("a", Value::Object), ("a.b", Value::Int(2))], r#"{"a":{"b":2}}"#),
            (
                &[("a.b", Value::Int(1)), ("a", Value::Object), ("z.y.x", Value::Text("\"".into()))],
                r#"{"a":{},"z":{"y":{"x":"\""}}}"#,
            ),
        ];
        for (paths, expected) in cases {
            let mut features = EnabledFeatures { objects: vec![Vec::new()] };
            paths.iter().for_each(|(path, value)| features.set(path, ReportedValue(value)));
            assert_eq!(line(&features), expected);
        }
    }
}
