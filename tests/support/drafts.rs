//! Drafts that differ by a number, for tests that look at the spool only.

use std::sync::Arc;

use salver::record::host::System;
use salver::record::{Draft, Layout, Slot, Value};

/// A draft whose one value is `n`.
pub fn draft(n: u64) -> Draft {
    Draft {
        layout: Arc::new(Layout {
            service: "butler".into(),
            docker_flag: true,
            slots: vec![Slot {
                property: Some("feature_count".into()),
                nested: Some("feature.count".into()),
                missing: None,
            }],
        }),
        values: vec![Value::Int(n as i64)],
        id: format!("{:064x}", 0xfeed_u64),
        service_version: "15.1.0".into(),
        system: a_host(),
        node_version: "v20.20.2".into(),
    }
}

/// The host that the bodies of the real tools were made on.
pub fn a_host() -> System {
    System {
        arch: "x64".into(),
        platform: "linux".into(),
        release: "12".into(),
        distro: "Debian GNU/Linux".into(),
        codename: "bookworm".into(),
        is_virtual: true,
        docker: false,
    }
}
