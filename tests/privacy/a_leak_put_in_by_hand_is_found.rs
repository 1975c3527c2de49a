//! Promise 7 is tested by searching for canaries and finding none. Here the same search finds them: those that may leave,
//! those that were put where an admin's own words are repeated, and those that are added to a file or a request by hand; and
//! it says through which channel which of them went.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::panic::catch_unwind;

use crate::support::canary::Canaries;
use crate::support::canary::captured::Captured;
use crate::support::canary::fleet::Fleet;
use crate::support::canary::printed::{PRINTED, observed};
use crate::support::canary::search::{Form, Search, encoded};
use crate::support::drafts::draft;
use crate::support::folders::{NOW, files, spool_folder};
use crate::support::hex;
use crate::support::site::SOS;
use flate2::Compression;
use flate2::write::GzEncoder;
use salver::record::catalogue::Catalogue;
use salver::record::{Draft, Reason, Value};

/// A version that Butler SOS reports.
const VERSION: &str = "2.71.828";

#[test]
fn a_value_that_may_leave_is_found_in_every_channel_that_carries_values() {
    let mut fleet = Fleet::new();
    fleet.canaries.at("the version of InfluxDB");
    fleet.canaries.declare(VERSION);
    fleet.add("sos", &[&SOS.replace("version: 2", &format!("version: {VERSION}"))], "");
    fleet.open();
    let findings = fleet.exercise().search(&Search::new(&fleet.canaries));
    let carry_values = [
        "dump --state all --format csv",
        "dump --state all --format csv --as event",
        "dump --state all --format json",
        "dump --state all --format json --as event",
        "dump --state all --format ndjson",
        "dump --state all --format ndjson --as event",
        "flush --dry-run",
        "preview --as event",
        "preview --as record",
        "preview --as request",
        "preview --explain",
        "record",
        "record --force",
        "record --force sos",
        "request bodies",
        "spool before the flush",
    ];
    assert_eq!(findings.channels_with(VERSION), BTreeSet::from(carry_values), "{findings}");
    assert!(findings.to_string().contains("planted in the version of InfluxDB"), "{findings}");
}

/// No value of a config file passes through these channels, but the names do that the admin gave.
#[test]
fn a_canary_that_is_a_name_is_found_in_status_logs_and_error_messages() {
    let mut fleet = Fleet::new();
    let (name, folder) = (fleet.canaries.text(), fleet.canaries.text());
    fleet.add_in(&name, &folder, &[SOS], "");
    fleet.open();
    let mut captured = fleet.exercise();
    let file = fleet.instances[0].1[0].clone();
    fs::write(&file, "'").unwrap();
    captured.run("record of a broken file", fleet.loud().arg("record"));
    captured.run("preview of a broken file", fleet.loud().args(["preview", &name]));
    captured.run("status of a broken file", fleet.loud().arg("status"));
    observed(&mut captured, &Catalogue::load(&[]).unwrap(), &[file]).unwrap_err();
    let findings = captured.search(&Search::new(&fleet.canaries));
    let names = findings.channels_with(&name);
    for channel in [
        "dump --state all --format table",
        "id",
        "id --history",
        "pause --all, stderr",
        "purge --all --dry-run",
        "record, stderr",
        "run",
        "run, stderr",
        "run --flush auto, stderr",
        "spool after the flush",
        "status",
        "status --format json",
    ] {
        assert!(names.contains(channel), "{channel}:\n{findings}");
    }
    let folders = findings.channels_with(&folder);
    for channel in [
        PRINTED,
        "preview of a broken file, stderr",
        "record of a broken file, stderr",
        "run, stderr",
        "status --format json",
        "status of a broken file",
    ] {
        assert!(folders.contains(channel), "{channel}:\n{findings}");
    }
    assert!(!names.contains("request bodies") && !folders.contains("request bodies"), "{findings}");
}

#[test]
fn a_canary_added_to_a_spool_file_or_a_request_is_found_and_fails_the_test() {
    let mut fleet = Fleet::new();
    fleet.add("sos", &[SOS], "");
    fleet.open();
    fleet.canaries.at("no config file");
    let (kept, sent, packed) =
        (fleet.canaries.text(), fleet.canaries.text(), fleet.canaries.number().to_string());
    let mut captured = fleet.exercise();
    captured.assert_silent(&Search::new(&fleet.canaries));
    for file in files(&fleet.site.spool()) {
        let mut bytes = fs::read(&file).unwrap();
        bytes.extend(kept.to_uppercase().bytes());
        fs::write(&file, bytes).unwrap();
        let mut captured = Captured::default();
        captured.add_spool("with a leak", &fleet.site.spool());
        let findings = captured.search(&Search::new(&fleet.canaries));
        assert_eq!(findings.channels_with(&kept), BTreeSet::from(["spool with a leak"]), "{file:?}");
    }
    post(&fleet, &format!("X-Leak: {sent}\r\n"), b"{}");
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    // So much that gzip has reason to pack it.
    let events = format!("{{\"event\": {packed}}}, ").repeat(100);
    write!(gzip, "{{\"batch\": [{events}], \"batch\": []}}").unwrap();
    post(&fleet, "", &gzip.finish().unwrap());
    captured.add("requests as they came", fleet.relay.raw());
    fleet.relay.bodies().into_iter().for_each(|body| captured.add("request bodies", body));
    let search = Search::new(&fleet.canaries);
    let findings = captured.search(&search);
    assert_eq!(findings.channels_with(&sent), BTreeSet::from(["requests as they came"]));
    assert_eq!(findings.channels_with(&packed), BTreeSet::from(["request bodies"]));
    let failure = catch_unwind(std::panic::AssertUnwindSafe(|| captured.assert_silent(&search))).unwrap_err();
    let text = failure.downcast_ref::<String>().unwrap();
    assert!(text.contains("request bodies: 1 leaked") && text.contains(&packed), "{text}");
}

/// Posts a body through the tapped wire; the answer does not matter.
fn post(fleet: &Fleet, header: &str, body: &[u8]) {
    let mut stream = TcpStream::connect(fleet.relay.address()).unwrap();
    let head = format!("POST /batch/ HTTP/1.1\r\n{header}Content-Length: {}\r\n\r\n", body.len());
    stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
    _ = stream.read(&mut [0; 1024]).unwrap();
}

#[test]
fn a_canary_is_found_in_every_form_in_which_it_could_leak() {
    let mut canaries = Canaries::default();
    // Of many, so that it is told from its neighbours.
    let texts: Vec<String> = (0..2_000).map(|_| canaries.text()).collect();
    let numbers: Vec<u64> = (0..2_000).map(|_| canaries.number()).collect();
    let search = Search::new(&canaries);
    for (text, number) in texts.iter().zip(&numbers).step_by(97) {
        let found = |canary: &str, bytes: &[u8]| {
            let mut captured = Captured::default();
            captured.add("here", [b"before ", bytes, b" after"].concat());
            let findings = captured.search(&search);
            assert_eq!(findings.channels_with(canary), BTreeSet::from(["here"]), "{canary}:\n{findings}");
            findings.forms("here", canary)
        };
        let json = serde_json::to_string(&format!("\"\\\u{7}{text}\n\u{2028}")).unwrap();
        for form in [text.to_owned(), text.to_uppercase(), json, format!("{:?}", format!("\"{text}\0"))] {
            assert_eq!(found(text, form.as_bytes()), [Form::Text]);
        }
        assert_eq!(found(text, hex(text.as_bytes()).as_bytes()), [Form::Hex]);
        assert_eq!(found(text, hex(text.as_bytes()).to_uppercase().as_bytes()), [Form::Hex]);
        for before in ["", "a", "ab", "abc", "abcd"] {
            assert_eq!(found(text, &encoded(format!("{before}{text}xyz").as_bytes())), [Form::Base64]);
        }
        let wide: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(found(text, &wide), [Form::Utf16]);
        let decimal = number.to_string();
        let signed = -(*number as i64);
        for form in
            [decimal.clone(), signed.to_string(), (*number as f64 + 0.5).to_string(), format!("{number}000")]
        {
            assert_eq!(found(&decimal, form.as_bytes()), [Form::Text]);
        }
        assert_eq!(found(&decimal, format!("{number:#X}").as_bytes()), [Form::Hex]);
        for word in
            [number.to_le_bytes(), number.to_be_bytes(), signed.to_le_bytes(), (*number as f64).to_le_bytes()]
        {
            assert_eq!(found(&decimal, &word), [Form::Word]);
        }
    }
}

#[test]
fn a_number_is_found_in_the_form_that_the_spool_gives_it() {
    let mut canaries = Canaries::default();
    // Not the first: its zeros may stand at the end of a uuid and the start of the id behind it.
    let number = [canaries.number(), canaries.number()][1];
    let search = Search::new(&canaries);
    for value in [number as i64, -(number as i64)] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("spool");
        let mut spool = spool_folder(&path).open(NOW).unwrap();
        let leak = Draft { values: vec![Value::Int(value)], ..draft(0) };
        spool.record("butler", leak, Reason::Started).unwrap();
        spool.close().unwrap();
        let mut captured = Captured::default();
        captured.add_spool("with a leak", &path);
        let findings = captured.search(&search);
        assert_eq!(findings.forms("spool with a leak", &number.to_string()), [Form::Word], "{findings}");
    }
}

#[test]
fn a_canary_that_was_cut_off_is_found_by_what_all_have_in_common() {
    let search_of_none = Canaries::default();
    let search = Search::new(&search_of_none);
    for cut in ["Canary0", "say canary", "Y2FuYXJ5", "xjYW5hcnk"] {
        let mut captured = Captured::default();
        captured.add("a log", cut);
        assert!(!captured.search(&search).is_empty(), "{cut}");
    }
}
