//! What is measured with: the record of a real config file, and places to put it.

#![allow(dead_code, reason = "each bench uses a part of it")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use salver::record::catalogue::Catalogue;
use salver::record::host::System;
use salver::record::observe::{State, observe};
use salver::record::subject::Subject;
use salver::record::{Draft, Layout, Reason, Slot, Value};
use salver::spool::{SpoolFolder, SpoolLimits};

/// The present of every spool here.
pub const NOW: i64 = 1_800_000_000_000;

/// The instance that records are written for.
pub const INSTANCE: &str = "butler:/etc/butler/production.yaml";

const ID: &str = "00000000000000000000000000000000000000000000000000000000feedfeed";

/// What Butler 15.1.0 reports of its production file.
pub fn draft() -> Draft {
    draft_of("butler/15.1.0")
}

/// What a release reports of its production file.
pub fn draft_of(release: &str) -> Draft {
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(release);
    let subject = Subject {
        files: vec![place.join("production.yaml")],
        service: None,
        service_version: None,
        node_version: Some("v22.14.0".into()),
    };
    let catalogue = Catalogue::load(&[]).expect("the catalogue is built in");
    let seen = observe(&catalogue, &subject).expect("the fixture can be read");
    let State::Reportable(report) = seen.state else { panic!("the fixture gives its consent") };
    Draft {
        layout: report.derived.layout,
        values: report.derived.values,
        id: ID.into(),
        service_version: seen.version.version.to_string(),
        system: system(),
        node_version: report.node_version,
    }
}

/// A draft of the same size that takes no memory to make: reading a config file needs more than the spool does.
pub fn plain_draft() -> Draft {
    let slot = |n: usize| Slot {
        property: Some(format!("feature_number_{n}_of_many")),
        nested: Some(format!("feature.number{n}.ofMany")),
        missing: Some(Value::Bool(false)),
    };
    Draft {
        layout: Arc::new(Layout {
            service: "butler".into(),
            docker_flag: true,
            slots: (0..90).map(slot).collect(),
        }),
        values: vec![Value::Bool(true); 90],
        id: ID.into(),
        service_version: "15.1.0".into(),
        system: system(),
        node_version: "v22.14.0".into(),
    }
}

fn system() -> System {
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

/// Drafts of which each reports something else than the one before it.
pub fn drafts(one: &Draft, count: usize) -> Vec<Draft> {
    let switch = one.values.iter().position(|value| matches!(value, Value::Bool(_)));
    let nth = |n: usize| {
        let mut draft = one.clone();
        if let Some(at) = switch {
            draft.values[at] = Value::Bool(n.is_multiple_of(2));
        }
        draft
    };
    (0..count).map(nth).collect()
}

/// A spool in which so many records wait.
pub fn filled(path: &Path, one: &Draft, records: usize) -> SpoolFolder {
    filled_at(NOW, path, one, records)
}

/// A spool in which so many records of this time wait.
pub fn filled_at(now_ms: i64, path: &Path, one: &Draft, records: usize) -> SpoolFolder {
    const AT_ONCE: usize = 2_000;
    let folder = folder(path);
    let mut spool = folder.open(now_ms).expect("the spool opens");
    for _ in 0..records / AT_ONCE {
        spool.record_all(INSTANCE, drafts(one, AT_ONCE), Reason::Changed).expect("records are written");
    }
    spool.close().expect("the spool closes");
    // The first opening after a bulk load sorts out what sled left; what is measured is an ordinary day.
    folder.open(now_ms).and_then(|spool| spool.close()).expect("the spool opens and closes");
    folder
}

/// A spool with ample limits.
pub fn folder(path: &Path) -> SpoolFolder {
    let limits =
        SpoolLimits { max_bytes: 1 << 40, max_records: 1 << 40, retention: Duration::from_secs(1 << 30) };
    SpoolFolder { path: path.to_owned(), limits, wait: Duration::from_secs(10) }
}
