//! Where salver lets less through than the tool: the tools hand on what is no switch, salver does not.
//!
//! Where the corpus has such values, the tool's body is mended here before it is compared, and nowhere else.

use serde_json::{Value as Json, json};

/// A config document, and which tool reads it.
pub struct Mending<'a> {
    /// The service's name.
    pub service: &'a str,
    /// Its release.
    pub version: &'a str,
    /// Whether the release sends to PostHog.
    pub posthog: bool,
    /// The config file.
    pub config: &'a Json,
}

impl Mending<'_> {
    /// The tool's body with the value of a missing key in every place where the tool passed on what is no switch.
    pub fn without_odd_values(&self, tool: &Json) -> Json {
        let mut body = tool.clone();
        if self.posthog {
            let properties = body["properties"].as_object_mut().unwrap();
            for (name, value) in properties.iter_mut().filter(|(name, _)| name.starts_with("feature_")) {
                self.mend(name, value);
            }
            self.mend_all(&mut body["properties"]["telemetry_json"]["enabledFeatures"]["feature"]);
        } else {
            self.mend_all(&mut body["enabledFeatures"]["feature"]);
            if body["enabledFeatures"].get("api").is_some() {
                keep_switches(&mut body["enabledFeatures"]["api"]);
            }
        }
        body
    }

    fn mend_all(&self, features: &mut Json) {
        for (name, value) in features.as_object_mut().unwrap() {
            match name.as_str() {
                "apiEnbledEndpoints" | "apiEnabledEndpoints" => keep_switches(value),
                "scriptLogStoreOnDisk" | "qseow" | "qsCloud" | "qlikSenseCloud" => self.mend_all(value),
                name => self.mend(name, value),
            }
        }
    }

    fn mend(&self, name: &str, value: &mut Json) {
        let missing = if name.ends_with("RuleCount") {
            json!(0)
        } else if name.ends_with("influxdb_version") || name.ends_with("influxdbVersion") {
            json!("unknown")
        } else if self.service == "butler" && self.posthog && !name.contains("webhook") {
            json!("null")
        } else {
            json!(false)
        };
        let counts = value.is_number() && !missing.is_boolean() && missing != "null";
        // These two the tool turns into a boolean whatever they are.
        if let Some(event) = name.rsplit("newRelicNotification").next().filter(|rest| *rest != name)
            && self.posthog
        {
            let event = if event.ends_with("Failure") { "reloadTaskFailure" } else { "reloadTaskAborted" };
            let path = |kind| format!("/Butler/incidentTool/newRelic/{event}/destination/{kind}/enable");
            *value = self.either(&[path("event"), path("log")]).unwrap_or(missing);
        } else if self.version.starts_with("5.6.") && name.ends_with("mqtt") {
            let path = |key| format!("/Butler-SOS/mqttConfig/{key}");
            *value = self.either(&[path("enable"), path("enableMQTT")]).unwrap_or(missing);
        } else if !value.is_boolean() && !counts {
            *value = missing;
        }
    }

    /// True if one of the switches is on, false if one is off, nothing if neither is a switch.
    fn either(&self, paths: &[String]) -> Option<Json> {
        let switches: Vec<bool> =
            paths.iter().filter_map(|path| self.config.pointer(path)?.as_bool()).collect();
        (!switches.is_empty()).then(|| json!(switches.contains(&true)))
    }
}

/// What is left of a block of REST endpoints: its switches, and the two blocks in it.
fn keep_switches(block: &mut Json) {
    let Json::Object(map) = block else {
        *block = json!({});
        return;
    };
    map.retain(|name, value| match name.as_str() {
        "newRelic" | "scheduler" => value.is_object() || value.is_null(),
        _ => value.is_boolean(),
    });
    for name in ["newRelic", "scheduler"] {
        if let Some(Json::Object(inner)) = map.get_mut(name) {
            inner.retain(|_, value| value.is_boolean());
        }
    }
}
