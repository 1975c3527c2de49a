//! Which records a purge is about.

use serde::{Deserialize, Serialize};

use crate::record::Record;

/// What is to be erased: records that meet all the conditions given. Without any, none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Selector {
    /// Every record.
    pub all: bool,
    /// Records with this distinct id.
    pub id: Option<String>,
    /// Records of this instance.
    pub instance: Option<String>,
    /// Records of this service.
    pub service: Option<String>,
    /// Records written before this time, in milliseconds since 1970.
    pub before_ms: Option<i64>,
    /// Dead letters.
    pub dead: bool,
}

impl Selector {
    /// Everything of one instance.
    pub fn of_instance(name: &str) -> Selector {
        Selector { instance: Some(name.to_owned()), ..Selector::default() }
    }

    /// Whether any condition is given.
    pub fn is_given(&self) -> bool {
        self.all
            || self.dead
            || self.id.is_some()
            || self.instance.is_some()
            || self.service.is_some()
            || self.before_ms.is_some()
    }

    /// Whether everything of an instance of this service is selected.
    pub(super) fn speaks_of(&self, instance: &str, service: &str) -> bool {
        let equal = |wanted: &Option<String>, is: &str| wanted.as_ref().is_none_or(|wanted| wanted == is);
        self.is_given() && equal(&self.instance, instance) && equal(&self.service, service)
    }

    /// Whether a record is selected.
    pub(super) fn matches(&self, record: &Record, dead: bool) -> bool {
        self.speaks_of(&record.instance, &record.draft.layout.service)
            && (!self.dead || dead)
            && self.id.as_ref().is_none_or(|id| *id == record.draft.id)
            && self.before_ms.is_none_or(|before| record.timestamp_ms < before)
    }
}
