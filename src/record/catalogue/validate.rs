//! The rules that a catalogue has to follow.
//!
//! Each rule stands for a value that would otherwise be quietly missing, overwritten or never read.
//! Pure; the caller adds the file and the line.

use semver::Version;

use super::{ConfigPath, ConsentKeys, Field, Rule};

/// A line of the file, counted from 1.
pub(super) type Line = u64;

/// Event properties that salver writes itself, beside those that start with [`RESERVED_PREFIXES`].
const RESERVED: [&str; 6] =
    ["service", "serviceVersion", "telemetry_json", "distinct_id", "token", "timestamp"];

/// `$` is PostHog's own.
const RESERVED_PREFIXES: [&str; 3] = ["$", "system_", "salver_"];

/// The name stands in settings, on the command line and in an instance's key, and needs no quotes
/// there.
pub(super) fn name(name: &str) -> Result<(), String> {
    let inside = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    match !name.is_empty() && name.chars().all(inside) {
        true => Ok(()),
        false => Err("`service` needs letters, digits, dots, hyphens and underscores only".into()),
    }
}

pub(super) fn key(key: &str) -> Result<(), String> {
    if key.is_empty() { Err("`topLevelKey` is empty".into()) } else { Ok(()) }
}

/// The newest release has telemetry.
pub(super) fn newest(since: &Version, newest: &Version) -> Result<(), String> {
    match newest < since {
        true => Err(format!("the newest release, {newest}, is older than the first with telemetry, {since}")),
        false => Ok(()),
    }
}

pub(super) fn consent(consent: &ConsentKeys) -> Result<(), String> {
    path(&consent.key)?;
    consent.off_when_false.iter().try_for_each(config_path)
}

pub(super) fn config_path(given: &ConfigPath) -> Result<(), String> {
    path(&given.path)?;
    range(given.since.as_ref(), given.until.as_ref())
}

/// All fields, each on its own and beside those before it.
pub(super) fn fields(fields: &[Field], lines: &[Line]) -> Result<(), (Line, String)> {
    let numbered: Vec<(&Field, Line)> = fields.iter().zip(lines.iter().copied()).collect();
    for (at, (field, line)) in numbered.iter().enumerate() {
        alone(field).and_then(|()| beside(field, &numbered[..at])).map_err(|cause| (*line, cause))?;
    }
    Ok(())
}

fn alone(field: &Field) -> Result<(), String> {
    if field.property.is_none() && field.nested.is_none() {
        return Err("the field has neither `property` nor `nested`, so it would be reported nowhere".into());
    }
    if field.paths.is_empty() {
        return Err("the field has no `path`".into());
    }
    field.paths.iter().chain(&field.when).chain(&field.nested).try_for_each(|path_of_it| path(path_of_it))?;
    if let Some(property) = &field.property {
        own_property(property)?;
    }
    if field.when.is_some() && field.rule != Rule::NonEmpty {
        return Err("`when` is for the rule nonEmpty; other rules do not ask it".into());
    }
    range(field.since.as_ref(), field.until.as_ref())
}

fn own_property(property: &str) -> Result<(), String> {
    let reserved =
        RESERVED.contains(&property) || RESERVED_PREFIXES.iter().any(|it| property.starts_with(it));
    match property.is_empty() || reserved {
        true => Err(format!(
            "the property `{property}` is written by salver itself or reserved; name it otherwise"
        )),
        false => Ok(()),
    }
}

/// A dotted path; each part names a key.
fn path(path: &str) -> Result<(), String> {
    match path.split('.').any(str::is_empty) {
        true => Err("a path is empty, or has an empty part between its dots".into()),
        false => Ok(()),
    }
}

fn range(since: Option<&Version>, until: Option<&Version>) -> Result<(), String> {
    match (since, until) {
        (Some(since), Some(until)) if since >= until => {
            Err(format!("no release lies between since {since} and until {until}"))
        }
        _ => Ok(()),
    }
}

/// Refuses a field that would write the same output key as one before it in the same release.
fn beside(field: &Field, before: &[(&Field, Line)]) -> Result<(), String> {
    for (other, line) in before.iter().filter(|(other, _)| other.overlaps(field)) {
        for (name, theirs) in [(&field.property, &other.property), (&field.nested, &other.nested)] {
            if let Some(name) = name
                && Some(name) == theirs.as_ref()
            {
                return Err(format!(
                    "`{name}` is written twice in one release; its other source is in line {line}"
                ));
            }
        }
        if below(field, other) || below(other, field) {
            return Err(format!(
                "one of `nested` here and in line {line} lies below the other; only a field with the rule object can hold others"
            ));
        }
    }
    Ok(())
}

/// Whether a field stands below one that cannot hold it.
fn below(inner: &Field, outer: &Field) -> bool {
    let (Some(inner), Some(path)) = (&inner.nested, &outer.nested) else { return false };
    let is_below = inner.strip_prefix(path.as_str()).is_some_and(|rest| rest.starts_with('.'));
    is_below && outer.rule != Rule::Object
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(property: &str, nested: &str) -> Field {
        Field {
            property: Some(property.to_owned()),
            nested: Some(nested.to_owned()),
            paths: vec!["a.b".to_owned()],
            when: None,
            rule: Rule::Boolean,
            missing: None,
            since: None,
            until: None,
        }
    }

    fn refused(fields: &[Field]) -> Option<(Line, String)> {
        let lines: Vec<Line> = (1..).take(fields.len()).collect();
        super::fields(fields, &lines).err()
    }

    #[test]
    fn a_field_that_would_overwrite_what_salver_writes_is_refused() {
        assert_eq!(refused(&[field("feature_a", "feature.a")]), None);
        for name in ["system_id", "service", "$ip", "salver_reason", "telemetry_json", ""] {
            assert!(refused(&[field(name, "feature.a")]).is_some(), "{name}");
        }
    }

    #[test]
    fn a_field_below_another_needs_a_block_to_stand_in() {
        let mut outer = field("a", "api");
        let inner = field("b", "api.get");
        for order in [[outer.clone(), inner.clone()], [inner.clone(), outer.clone()]] {
            assert_eq!(refused(&order).map(|(line, _)| line), Some(2));
        }
        outer.rule = Rule::Object;
        assert_eq!(refused(&[outer, inner]), None);
        assert_eq!(refused(&[field("a", "api"), field("b", "apiary.get")]), None, "only a name in common");
    }

    #[test]
    fn a_condition_that_no_rule_asks_and_a_path_that_leads_nowhere_are_refused() {
        let mut odd = field("a", "feature.a");
        odd.when = Some("x".into());
        assert!(refused(&[odd.clone()]).is_some());
        odd.rule = Rule::NonEmpty;
        assert_eq!(refused(&[odd]), None);
        for path in ["", "a..b", ".a", "a."] {
            let mut odd = field("a", "feature.a");
            odd.paths = vec![path.into()];
            assert!(refused(&[odd]).is_some(), "{path}");
        }
    }

    #[test]
    fn a_range_without_releases_is_refused() {
        let mut odd = field("a", "feature.a");
        (odd.since, odd.until) = (Some(Version::new(2, 0, 0)), Some(Version::new(2, 0, 0)));
        assert!(refused(&[odd]).is_some());
    }
}
