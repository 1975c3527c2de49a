//! `identity`: the ingredients of the anonymous id.

use serde::Deserialize;

use super::error::SettingsError;
use super::fields::Fields;
use super::raw::Raw;
use super::rules::word;
use crate::record::identity::SystemIdSource;

const SYSTEM_IDS: [(&str, SystemIdSource); 4] = [
    ("auto", SystemIdSource::Auto),
    ("dmi", SystemIdSource::Dmi),
    ("machine", SystemIdSource::Machine),
    ("none", SystemIdSource::None),
];

#[derive(Clone, Debug, Default, PartialEq)]
pub struct IdentitySettings {
    pub system_id: SystemIdSource,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct RawIdentity {
    system_id: Option<Raw>,
}

impl RawIdentity {
    pub fn validate(self, fields: &Fields) -> Result<IdentitySettings, SettingsError> {
        let default = SystemIdSource::default();
        let rule = |value: &_| word(value, &SYSTEM_IDS);
        Ok(IdentitySettings { system_id: fields.or(default, "identity.systemId", self.system_id, rule)? })
    }
}
