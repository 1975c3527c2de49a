//! Promise: the texts that make the anonymous id are not stored, said or sent. An id is anonymous only as long as nobody
//! finds the hardware address, the IP address, the host names or the machine's ids beside it, in whatever notation, nor a
//! digest of one of them alone, which could be found again by trying all there are.
//!
//! The host of these tests has texts of its own in each of those places; then everything is done there that salver can do,
//! as talkative as it can be, and all that it says, keeps and sends is searched. The last test puts each of the forms into
//! the spool by hand and sees the search find it. Linux only: nowhere else can a test make up a host.

#![cfg(target_os = "linux")]

use std::fs;
use std::process::Command;

use crate::support::folders;
use crate::support::hex;
use crate::support::host::{Host, id_of};
use crate::support::posthog::PostHog;
use crate::support::service::Service;
use crate::support::site::{BUTLER, SOS, Site};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

const MAC: &str = "02:c0:de:5a:1e:d7";
/// Of an interface that is not the default one.
const OTHER_MAC: &str = "02:5e:c0:4d:fa:ce";
const IPV4: &str = "198.51.100.213";
const IPV6: &str = "2001:db8:5a1e::d7";
const QRS_HOST: &str = "qrs-host-of-the-id.example";
const HOST_NAME: &str = "name-of-this-host";
const MACHINE: &str = "c0de5a1e83b94c6e8b0f2d7a5a1ec0de";
const FIRMWARE: &str = "5a1ec0de-83b9-4c6e-8b0f-2d7ac0de5a1e";

const SECRETS: [&str; 8] = [MAC, OTHER_MAC, IPV4, IPV6, QRS_HOST, HOST_NAME, MACHINE, FIRMWARE];

/// A form in which a secret could slip out.
struct Form {
    what: String,
    bytes: Vec<u8>,
    /// Whether it may be in upper case as well.
    is_text: bool,
}

impl Form {
    fn text(what: &str, text: String) -> Form {
        Form { what: format!("{what}: {text}"), bytes: text.into_bytes(), is_text: true }
    }

    fn bytes(what: String, bytes: Vec<u8>) -> Form {
        Form { what, bytes, is_text: false }
    }
}

/// The forms of a text: in each usual notation, as bytes, and as its digests.
fn forms(secret: &str) -> Vec<Form> {
    let notations = [secret.to_owned(), secret.replace([':', '-'], ""), secret.replace(':', "-")];
    let mut forms: Vec<Form> = notations.map(|notation| Form::text("plain", notation)).into();
    // The bytes of an IPv4 address are too few to be looked for.
    if secret == MAC || secret == OTHER_MAC {
        let bytes = secret.split(':').map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
        forms.push(Form::bytes(format!("the bytes of {secret}"), bytes));
    }
    for text in [secret.to_owned(), secret.to_uppercase(), secret.replace([':', '-'], "")] {
        let mut digests = vec![(format!("sha256 of {text}"), Sha256::digest(&text).to_vec())];
        for key in ["", &text, MAC] {
            let mut digest = Hmac::<Sha256>::new_from_slice(key.as_bytes()).unwrap();
            digest.update(text.as_bytes());
            digests.push((format!("hmac of {text} by {key:?}"), digest.finalize().into_bytes().to_vec()));
        }
        for (what, digest) in digests {
            // The beginning is enough to tell it by, should it have been cut.
            forms.push(Form::text(&what, hex(&digest[..8])));
            forms.push(Form::bytes(what, digest[..8].to_vec()));
        }
    }
    forms.sort_by(|a, b| a.bytes.cmp(&b.bytes));
    forms.dedup_by(|a, b| a.bytes == b.bytes);
    forms
}

/// Which forms of which secrets are in these bytes.
fn found_in(heard: &[u8]) -> Vec<String> {
    // A text with a character for each byte, as the search in texts is a fast one.
    let text = |bytes: &[u8]| bytes.iter().map(|byte| char::from(*byte)).collect::<String>();
    let (raw, lower) = (text(heard), text(&heard.to_ascii_lowercase()));
    let all = SECRETS.iter().flat_map(|secret| forms(secret));
    all.filter(|form| if form.is_text { &lower } else { &raw }.contains(&text(&form.bytes)))
        .map(|form| form.what)
        .collect()
}

/// Everything that was said, kept and sent.
struct Audit {
    host: Host,
    site: Site,
    posthog: PostHog,
    heard: Vec<u8>,
}

impl Audit {
    fn new(source: &str) -> Option<Audit> {
        let host = Host::new()?;
        host.interface("eth0", MAC, &["198.51.100.213/24"]);
        if host.has_ipv6() {
            host.interface("eth1", OTHER_MAC, &["2001:db8:5a1e::d7/64"]);
        }
        host.sh(&format!(
            "ip route add default via 198.51.100.1; echo {HOST_NAME} > /proc/sys/kernel/hostname"
        ));
        host.machine_id(MACHINE);
        host.firmware(&FIRMWARE.to_uppercase());
        let posthog = PostHog::start();
        let site = Site::of_sos(SOS);
        site.write("config/butler.yaml", &BUTLER.replace("sense.example", QRS_HOST));
        site.settings(&format!(
            "identity: {{systemId: {source}}}\nposthog: {{host: '{}', apiKey: phc_not_a_real_key}}\n\
             watch: {{settle: 50ms}}\ninstances:\n  \
             - {{name: butler, configFile: config/butler.yaml, serviceVersion: 15.1.0}}\n  \
             - {{name: sos, configFile: config/sos.yaml, serviceVersion: 15.0.0}}\n",
            posthog.url()
        ));
        Some(Audit { host, site, posthog, heard: Vec::new() })
    }

    /// The program with these arguments, saying all that it can say.
    fn loud(&self, arguments: &[&str]) -> Command {
        let mut command = self.site.salver();
        command.env("SALVER_LOG", "trace").env("RUST_LOG", "trace").env("RUST_BACKTRACE", "full");
        command.arg("-vv").args(arguments);
        command
    }

    /// Runs to the end, however it ends, and keeps what was said.
    fn run(&mut self, arguments: &[&str]) {
        let command = self.loud(arguments);
        let output = match arguments[0] {
            "flush" => self.host.at_on_our_network(&command).output().unwrap(),
            _ => self.host.at(&command).output().unwrap(),
        };
        assert!(!output.stdout.is_empty() || !output.stderr.is_empty(), "{arguments:?} said nothing");
        self.heard.extend(output.stdout);
        self.heard.extend(output.stderr);
    }

    /// Keeps the raw bytes of the spool.
    fn look_into_the_spool(&mut self) {
        for file in folders::files(&self.site.spool()) {
            self.heard.extend(file.file_name().unwrap().as_encoded_bytes());
            self.heard.extend(fs::read(file).unwrap());
        }
    }

    fn do_everything(&mut self) {
        for name in ["butler", "sos"] {
            for shape in ["record", "event", "request"] {
                self.run(&["preview", name, "--as", shape]);
            }
            self.run(&["preview", name, "--explain"]);
        }
        self.run(&["id"]);
        self.run(&["record"]);
        let mut service = Service::start(&mut self.host.at(&self.loud(&["run"])));
        service.wait_for("a first look", |it| it.idle_looks() > 1);
        let ended = service.stop();
        self.heard.extend([ended.stdout, ended.stderr].concat().join("\n").into_bytes());
        // What the id is and what it would be now are said when they differ.
        self.run(&["id", "sos", "--adopt", &"0123456789abcdef".repeat(4)]);
        self.run(&["id"]);
        self.run(&["record", "--force"]);
        for format in ["table", "json", "ndjson", "csv"] {
            self.run(&["dump", "--state", "all", "--format", format]);
            self.run(&["dump", "--state", "all", "--as", "event", "--format", format]);
        }
        self.look_into_the_spool();
        self.run(&["flush", "--dry-run"]);
        self.run(&["flush"]);
        for arguments in [
            &["status"][..],
            &["status", "--format", "json"],
            &["id", "--history"],
            &["purge", "--all", "--dry-run"],
        ] {
            self.run(arguments);
        }
        // Errors, too.
        self.site.write("config/butler.yaml", &format!("Butler:\n  configQRS:\n   host: '{QRS_HOST}\n"));
        for arguments in [&["record"][..], &["id"], &["preview", "butler"], &["status"]] {
            self.run(arguments);
        }
        self.look_into_the_spool();
        let bodies: String = self.posthog.bodies().iter().map(ToString::to_string).collect();
        self.heard.extend(bodies.into_bytes());
    }
}

#[test]
fn none_of_the_id_s_inputs_is_said_kept_or_sent() {
    let Some(mut audit) = Audit::new("auto") else { return };
    audit.do_everything();
    let id = id_of(MAC, IPV4, QRS_HOST, FIRMWARE);
    let events = audit.posthog.events();
    assert!(events.len() == 4 && events[0]["distinct_id"] == *id, "they did make the id: {events:?}");
    assert!(String::from_utf8_lossy(&audit.heard).contains(&id), "and what may be said is found");
    assert_eq!(found_in(&audit.heard), [""; 0]);
}

#[test]
fn nor_is_the_operating_system_s_machine_id_where_that_is_the_system_id() {
    let Some(mut audit) = Audit::new("machine") else { return };
    audit.do_everything();
    let id = id_of(MAC, IPV4, QRS_HOST, MACHINE);
    assert_eq!(audit.posthog.events()[0]["distinct_id"], *id, "it did make the id");
    assert_eq!(found_in(&audit.heard), [""; 0]);
}

#[test]
fn the_search_would_find_each_of_them_in_each_form() {
    let Some(mut audit) = Audit::new("auto") else { return };
    for secret in SECRETS {
        for form in forms(secret) {
            let leak = [b"before ", &form.bytes[..], b" after"].concat();
            assert!(found_in(&leak).contains(&form.what), "{}", form.what);
        }
    }
    for said in [MAC.to_uppercase(), FIRMWARE.to_uppercase(), MAC.to_uppercase().replace(':', "")] {
        assert!(!found_in(said.as_bytes()).is_empty(), "{said}");
    }
    audit.run(&["record"]);
    let form = forms(MAC).pop().unwrap();
    fs::write(audit.site.spool().join("leak"), [&[0; 5], &form.bytes[..], &[0; 5]].concat()).unwrap();
    audit.look_into_the_spool();
    assert_eq!(found_in(&audit.heard), [form.what]);
}
