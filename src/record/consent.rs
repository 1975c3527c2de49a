//! Whether a document allows collecting.
//!
//! Why a type of its own: off is a decision, absence is not. Only a document that was read, and
//! that has the service's block, can withdraw consent (and so erase unsent records). Anything less
//! holds the records, so an editor that truncates a file before it writes it never costs the
//! backlog. So this module sees blocks of documents only.
//!
//! A file that was cut off can still be a document: it has the service's key, and the line with the
//! consent is missing or incomplete. The tools' own files name the consent before most of what they
//! report, and a cut takes everything behind it. So the word `false` is a decision in any case.
//! Anything else is one only in a document that shows that it goes on behind the consent: every
//! file ends in a line break, and the block has a key that is reported.

use semver::Version;

use super::catalogue::Service;
use super::document::Node;

/// The decision a document states.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Consent {
    /// Collect.
    Given,
    /// The document says no. The text names the key.
    Withdrawn(String),
    /// The document does not say yes, and may have been cut off: collect nothing, erase nothing.
    Unclear(String),
}

/// Reads the decision of `version` of `service` from the block below its top-level key.
/// `ends_whole`: all files of the document end in line breaks. Pure.
pub fn decide(service: &Service, version: &Version, block: &Node, ends_whole: bool) -> Consent {
    let key = &service.consent.key;
    let named = |path: &str| format!("{}.{path}", service.top_level_key);
    let is_not = match block.at(key) {
        Some(Node::Bool(true)) => return switched_off(service, version, block),
        Some(Node::Bool(false)) => return Consent::Withdrawn(format!("{} is false", named(key))),
        Some(_) => "is not the boolean true",
        None => "is missing",
    };
    let why = format!("{} {is_not}", named(key));
    if ends_whole && reports_anything(service, version, block) {
        return Consent::Withdrawn(why);
    }
    Consent::Unclear(format!(
        "{why}, but the file may be half written: what waits is kept, and not sent, until it is whole"
    ))
}

/// The decision of the keys beside the consent.
fn switched_off(service: &Service, version: &Version, block: &Node) -> Consent {
    let mut paths = service.consent.off_when_false.iter().filter(|path| path.counts_in(version));
    match paths.find(|off| block.at(&off.path) == Some(&Node::Bool(false))) {
        Some(off) => Consent::Withdrawn(format!("{}.{} is false", service.top_level_key, off.path)),
        None => Consent::Given,
    }
}

/// Whether the block has any of the keys that this release reports.
fn reports_anything(service: &Service, version: &Version, block: &Node) -> bool {
    let mut fields = service.fields.iter().filter(|field| field.reported_in(version));
    fields.any(|field| field.paths.iter().any(|path| block.at(path).is_some()))
}

/// Whether the environment variable `DO_NOT_TRACK` asks to collect and send nothing: any value but
/// empty or `0`. It never erases: it speaks for a process, not for the service that is observed.
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
        let ends_whole = yaml.ends_with('\n');
        decide(catalogue.service("butler").unwrap(), &Version::parse(version).unwrap(), &block, ends_whole)
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
    fn what_may_have_been_cut_off_is_no_decision_unless_it_says_false() {
        let withdrawn = |yaml: &str| matches!(of("15.1.0", yaml), Consent::Withdrawn(_));
        let rest = "mqttConfig: {enable: true}\n";
        for missing in ["", "anonTelemetry: tru\n", "anonTelemetry:\n", "anonTelemetry: 'true'\n"] {
            assert!(withdrawn(&format!("{missing}{rest}")), "{missing}");
            assert!(withdrawn(&format!("{rest}{missing}")), "{missing}");
            assert!(!withdrawn(&format!("logLevel: info\n{missing}")), "nothing behind it: {missing}");
            assert!(!withdrawn(format!("{rest}{missing}").trim_end()), "no line break: {missing}");
        }
        assert!(withdrawn("anonTelemetry: false"));
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
