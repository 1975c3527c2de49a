//! The values that a release of a service reports, read from a config document by the catalogue.
//!
//! Why types are checked first: the tools report a raw config value where a switch is expected, so
//! a password typed after an `enable:` would leave the server. Here a value of another type counts
//! as a missing key.
//!
//! Invariant: the only texts in the result are versions of three numbers, and words of the
//! catalogue.

use std::sync::Arc;

use semver::Version;

use super::catalogue::{Field, Rule, Service};
use super::document::Node;
use super::{Layout, Slot, Value};

/// The values that a document reports, with the origin of each.
#[derive(Clone, Debug)]
pub struct Derived {
    pub layout: Arc<Layout>,
    /// One value for each slot of the layout.
    pub values: Vec<Value>,
    /// One provenance for each slot of the layout.
    pub provenance: Vec<Provenance>,
}

/// The config paths that a value comes from, in full, with the top-level key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provenance {
    /// The path that decided the value; `None` if no path has a value of the rule's type.
    pub decided_by: Option<String>,
    /// All paths that the rule reads.
    pub looked_at: Vec<String>,
}

/// Derives the values that `version` of `service` reports for the block below its top-level key.
/// Pure.
pub fn derive(service: &Service, version: &Version, block: &Node) -> Derived {
    let mut layout = Layout {
        service: service.name.clone(),
        docker_flag: service.docker_flag_since.as_ref().is_some_and(|since| version >= since),
        slots: Vec::new(),
    };
    let (mut values, mut provenance) = (Vec::new(), Vec::new());
    let whole = |path: &str| format!("{}.{path}", service.top_level_key);
    for field in service.fields.iter().filter(|field| field.reported_in(version)) {
        let (value, path) = decide(field, block);
        layout.slots.push(Slot {
            property: field.property.clone(),
            nested: field.nested.clone(),
            missing: field.missing.clone(),
        });
        values.push(value);
        provenance.push(Provenance {
            decided_by: path.map(whole),
            looked_at: field.paths.iter().chain(&field.when).map(|path| whole(path)).collect(),
        });
    }
    Derived { layout: Arc::new(layout), values, provenance }
}

/// The value of one field, and the path that decided it.
fn decide<'f>(field: &'f Field, block: &Node) -> (Value, Option<&'f str>) {
    if field.rule == Rule::NonEmpty
        && let Some(gate) = &field.when
        && block.at(gate) != Some(&Node::Bool(true))
    {
        return (Value::Bool(false), Some(gate));
    }
    let mut decided = (Value::Missing, None);
    for path in &field.paths {
        let value = block.at(path).map_or(Value::Missing, |node| read(field.rule, node));
        let wins = matches!(value, Value::Bool(true)) || decided.0 == Value::Missing;
        if value != Value::Missing && wins {
            decided = (value, Some(path.as_str()));
        }
    }
    decided
}

/// No version has a larger number, and a phone number does not fit.
const LARGEST: u64 = 9999;

/// Three numbers only: the rest of a semantic version is free text, which must not leave the
/// server.
fn is_plain_version(text: &str) -> bool {
    Version::parse(text).is_ok_and(|version| {
        let numbers = [version.major, version.minor, version.patch];
        version.pre.is_empty() && version.build.is_empty() && numbers.iter().all(|number| *number <= LARGEST)
    })
}

fn is_small(number: i64) -> bool {
    u64::try_from(number).is_ok_and(|number| number <= LARGEST)
}

/// Applies a rule to a node of the document.
fn read(rule: Rule, node: &Node) -> Value {
    match (rule, node) {
        (Rule::Boolean, Node::Bool(flag)) => Value::Bool(*flag),
        (Rule::OnlyTrue, Node::Bool(true)) => Value::Bool(true),
        (Rule::Length, Node::List(length)) => Value::Int(i64::try_from(*length).unwrap_or(i64::MAX)),
        (Rule::NonEmpty, Node::List(length)) => Value::Bool(*length > 0),
        (Rule::Version, Node::Int(number)) if is_small(*number) => Value::Int(*number),
        (Rule::Version, Node::Text(text)) if is_plain_version(text) => Value::Text(text.clone()),
        (Rule::Object, Node::Map(_)) => Value::Object,
        (Rule::Object, Node::Null) => Value::Null,
        _ => Value::Missing,
    }
}

#[cfg(test)]
mod tests {
    use super::super::catalogue::Catalogue;
    use super::super::document::parse;
    use super::*;

    fn value_of(version: &str, yaml: &str, property: &str) -> (Value, Option<String>) {
        let catalogue = Catalogue::load(&[]).unwrap();
        let service = catalogue.service("butler").unwrap();
        let block = parse(yaml).unwrap();
        let derived = derive(service, &Version::parse(version).unwrap(), &block);
        let at = derived.layout.slots.iter().position(|p| p.property.as_deref() == Some(property)).unwrap();
        (derived.values[at].clone(), derived.provenance[at].decided_by.clone())
    }

    #[test]
    fn a_switch_of_another_type_counts_as_missing() {
        for odd in ["hunter2", "'true'", "1", "[true]", "{enable: true}", "yes", "null"] {
            let (value, decided) =
                value_of("15.1.0", &format!("mqttConfig: {{enable: {odd}}}"), "feature_mqtt");
            assert_eq!((value, decided), (Value::Missing, None), "{odd}");
        }
    }

    #[test]
    fn a_version_is_a_small_number_or_three_numbers_and_nothing_else() {
        let catalogue = Catalogue::load(&[]).unwrap();
        let service = catalogue.service("butler-sos").unwrap();
        let version = |text: &str| {
            let block = parse(&format!("influxdbConfig: {{version: {text}}}")).unwrap();
            let derived = derive(service, &service.newest, &block);
            let is_it = |p: &Slot| p.property.as_deref() == Some("feature_influxdb_version");
            derived.values[derived.layout.slots.iter().position(is_it).unwrap()].clone()
        };
        assert_eq!(version("3"), Value::Int(3));
        assert_eq!(version("2.7.1"), Value::Text("2.7.1".into()));
        for odd in [
            "1.0.0-hunter2",
            "1.0.0+hunter2",
            "hunter2",
            "4915123456789",
            "4915123456789.1.1",
            "-1",
            "2.7",
            "true",
        ] {
            assert_eq!(version(odd), Value::Missing, "{odd}");
        }
    }

    #[test]
    fn a_rule_reads_values_of_its_own_type_only() {
        use Rule::*;
        let text = |text: &str| Node::Text(text.into());
        let reads = [
            (Boolean, Node::Bool(true), Value::Bool(true)),
            (Boolean, Node::Bool(false), Value::Bool(false)),
            (OnlyTrue, Node::Bool(true), Value::Bool(true)),
            (Length, Node::List(0), Value::Int(0)),
            (Length, Node::List(1), Value::Int(1)),
            (NonEmpty, Node::List(0), Value::Bool(false)),
            (NonEmpty, Node::List(1), Value::Bool(true)),
            (Version, Node::Int(0), Value::Int(0)),
            (Version, Node::Int(9999), Value::Int(9999)),
            (Version, text("9999.0.1"), Value::Text("9999.0.1".into())),
            (Object, Node::Map(Default::default()), Value::Object),
            (Object, Node::Null, Value::Null),
        ];
        for (rule, node, value) in &reads {
            assert_eq!(read(*rule, node), *value, "{rule:?} {node:?}");
        }
        let others =
            [Node::Bool(false), Node::Int(10_000), Node::Int(-1), text("10000.0.0"), text("1.0.0-x")];
        let nodes = reads.iter().map(|(_, node, _)| node).chain(&others);
        for node in nodes {
            for rule in [Boolean, OnlyTrue, Length, NonEmpty, Version, Object] {
                if !reads.iter().any(|(its, its_node, _)| (*its, its_node) == (rule, node)) {
                    assert_eq!(read(rule, node), Value::Missing, "{rule:?} {node:?}");
                }
            }
        }
    }

    #[test]
    fn the_docker_flag_is_reported_from_its_release_on() {
        let catalogue = Catalogue::load(&[]).unwrap();
        let butler = catalogue.service("butler").unwrap();
        let flag = |version: &str| {
            derive(butler, &Version::parse(version).unwrap(), &parse("a: 1").unwrap()).layout.docker_flag
        };
        assert_eq!(["10.9.9", "11.0.0", "11.0.1"].map(flag), [false, true, true]);
    }

    #[test]
    fn of_several_paths_a_true_one_wins_and_is_named() {
        let path = "incidentTool.newRelic.reloadTaskFailure.destination";
        let yaml = "incidentTool: {newRelic: {reloadTaskFailure: {destination: {event: {enable: false}, log: {enable: true}}}}}";
        let (value, decided) = value_of("15.1.0", yaml, "feature_newRelicNotificationReloadTaskFailure");
        assert_eq!(value, Value::Bool(true));
        assert_eq!(decided.unwrap(), format!("Butler.{path}.log.enable"));
        // Without a true one, the first that has a value.
        let yaml = yaml.replace("true", "false");
        let (value, decided) = value_of("15.1.0", &yaml, "feature_newRelicNotificationReloadTaskFailure");
        assert_eq!(value, Value::Bool(false));
        assert_eq!(decided.unwrap(), format!("Butler.{path}.event.enable"));
    }

    #[test]
    fn a_list_counts_only_while_its_switch_is_on() {
        let hooks =
            |on: bool| format!("webhookNotification: {{enable: {on}, reloadTaskFailure: {{webhooks: [a]}}}}");
        let property = "feature_webhookNotificationReloadTaskFailure";
        assert_eq!(value_of("15.1.0", &hooks(true), property).0, Value::Bool(true));
        let off = value_of("15.1.0", &hooks(false), property);
        assert_eq!(off, (Value::Bool(false), Some("Butler.webhookNotification.enable".into())));
    }

    #[test]
    fn a_release_between_two_generations_takes_the_older_one() {
        let yaml = "influxDb: {reloadTaskFailure: {enable: true}}";
        let catalogue = Catalogue::load(&[]).unwrap();
        let block = parse(yaml).unwrap();
        let keys = |version: &str| {
            let version = Version::parse(version).unwrap();
            derive(catalogue.service("butler").unwrap(), &version, &block).layout.slots.len()
        };
        assert_eq!(keys("9.2.9"), keys("9.1.0"));
        assert_eq!(keys("9.3.0-beta.1"), keys("9.1.0"), "a pre-release sorts below its release");
        assert!(keys("9.3.0") > keys("9.2.9"));
        assert_eq!(keys("99.0.0"), keys("15.1.0"));
    }
}
