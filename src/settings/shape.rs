//! The shape of `salver.yaml`: its sections and keys, before anything is known about the values.
//!
//! Everything is optional, and a key or a section without a value counts as absent. Unknown keys are refused by serde,
//! which also tells where; the lists of keys below exist for the help that follows (tests hold them to the structs).

use serde::Deserialize;
use serde_saphyr::Spanned;

use super::given::Given;

/// The sections and the keys of each.
pub(super) const SECTIONS: [(&str, &[&str]); 6] = [
    ("spool", &["directory", "maxBytes", "maxRecords", "retention", "wait"]),
    ("watch", &["settle", "poll"]),
    ("record", &["interval"]),
    ("identity", &["systemId"]),
    ("flush", &["mode", "every", "batchEvents", "batchBytes", "timeout", "patience", "historicalAfter"]),
    ("posthog", &["host", "apiKey", "proxy", "caFile", "allowPlainHttp", "geoip"]),
];

/// The keys of one entry of `instances`.
pub(super) const INSTANCE_KEYS: &[&str] = &["name", "service", "configFile", "serviceVersion", "nodeVersion"];

/// The whole file.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Document {
    pub spool: Option<Spool>,
    pub watch: Option<Watch>,
    pub record: Option<Record>,
    pub identity: Option<Identity>,
    pub flush: Option<Flush>,
    pub posthog: Option<PostHog>,
    pub catalogues: Option<Given>,
    pub instances: Option<Vec<Spanned<Instance>>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Spool {
    pub directory: Option<Given>,
    pub max_bytes: Option<Given>,
    pub max_records: Option<Given>,
    pub retention: Option<Given>,
    pub wait: Option<Given>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Watch {
    pub settle: Option<Given>,
    pub poll: Option<Given>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Record {
    pub interval: Option<Given>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Identity {
    pub system_id: Option<Given>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Flush {
    pub mode: Option<Given>,
    pub every: Option<Given>,
    pub batch_events: Option<Given>,
    pub batch_bytes: Option<Given>,
    pub timeout: Option<Given>,
    pub patience: Option<Given>,
    pub historical_after: Option<Given>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct PostHog {
    pub host: Option<Given>,
    pub api_key: Option<Given>,
    pub proxy: Option<Given>,
    pub ca_file: Option<Given>,
    pub allow_plain_http: Option<Given>,
    pub geoip: Option<Given>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Instance {
    pub name: Option<Given>,
    pub service: Option<Given>,
    pub config_file: Option<Given>,
    pub service_version: Option<Given>,
    pub node_version: Option<Given>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(text: &str) -> Vec<&'static str> {
        let options = serde_saphyr::options! { with_snippet: false };
        match serde_saphyr::from_str_with_options::<Document>(text, options).err() {
            Some(serde_saphyr::Error::SerdeUnknownField { expected, .. }) => expected,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_lists_of_keys_are_those_of_the_structs() {
        for (section, keys) in SECTIONS {
            assert_eq!(known(&format!("{section}: {{nonsense: 1}}")), keys, "{section}");
        }
        assert_eq!(known("instances: [{nonsense: 1}]"), INSTANCE_KEYS);
    }
}
