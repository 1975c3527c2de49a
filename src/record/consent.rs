//! Whether a document allows collecting.
//!
//! Why a type of its own: off is a decision, absence is not. Only a document that was read, and that has the service's
//! block, can withdraw consent (and so erase what is unsent); everything short of that merely holds, and an editor that
//! truncates a file before it writes it never costs the backlog. So this module sees blocks of documents only.

use semver::Version;

use super::catalogue::Service;
use super::document::Node;

/// The decision a document states.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Consent {
    /// Collect.
    Given,
    /// The document says no; the text names the key that says so.
    Withdrawn(String),
}

/// Reads the decision of `version` of `service` from the block below its top-level key. Pure.
pub fn decide(service: &Service, version: &Version, block: &Node) -> Consent {
    let key = &service.consent.key;
    let named = |path: &str| format!("{}.{path}", service.top_level_key);
    match block.at(key) {
        Some(Node::Bool(true)) => {}
        Some(Node::Bool(false)) => return Consent::Withdrawn(format!("{} is false", named(key))),
        Some(_) => return Consent::Withdrawn(format!("{} is not the boolean true", named(key))),
        None => return Consent::Withdrawn(format!("{} is missing", named(key))),
    }
    for source in service.consent.off_when_false.iter().filter(|source| source.counts_in(version)) {
        if block.at(&source.path) == Some(&Node::Bool(false)) {
            return Consent::Withdrawn(format!("{} is false", named(&source.path)));
        }
    }
    Consent::Given
}

/// Whether the environment variable `DO_NOT_TRACK` asks to collect and send nothing: anything but empty or `0`.
/// It holds and never erases: it speaks for a process, not for the service it observes.
pub fn do_not_track(variable: Option<&std::ffi::OsStr>) -> bool {
    variable.is_some_and(|value| !value.is_empty() && value != "0")
}

#[cfg(test)]
mod tests {
    use super::super::catalogue::Catalogue;
    use super::super::document::parse;
    use super::*;

    fn of(version: &str, yaml: &str) -> Consent {
        let catalogue = Catalogue::load(&[]).unwrap();
        let block = parse(yaml).unwrap();
        decide(catalogue.service("butler").unwrap(), &Version::parse(version).unwrap(), &block)
    }

    #[test]
    fn only_the_boolean_true_is_consent() {
        assert_eq!(of("15.1.0", "anonTelemetry: true"), Consent::Given);
        for off in ["false", "'true'", "yes", "1", "null", "[true]", "{enable: true}"] {
            assert_ne!(of("15.1.0", &format!("anonTelemetry: {off}")), Consent::Given, "{off}");
        }
        assert_ne!(of("15.1.0", "other: true"), Consent::Given);
    }

    #[test]
    fn switching_system_information_off_counts_from_the_releases_that_have_it() {
        let yaml = "{anonTelemetry: true, systemInfo: {enable: false}}";
        assert_ne!(of("14.0.0", yaml), Consent::Given);
        assert_eq!(of("13.1.2", yaml), Consent::Given);
    }

    #[test]
    fn do_not_track_is_anything_but_empty_or_zero() {
        for (value, asked) in [("", false), ("0", false), ("1", true), ("true", true)] {
            assert_eq!(do_not_track(Some(value.as_ref())), asked, "{value:?}");
        }
        assert!(!do_not_track(None));
    }
}
