//! A spool in the lower layer of an overlay (a committed container, a read-only image under a
//! writable layer): renaming a folder fails there with EXDEV, so nothing may depend on that.

#![cfg(target_os = "linux")]

use std::fs;
use std::process::Command;

use crate::support::folders::copy;
use crate::support::modes::{chmod, is_root};
use crate::support::needs::{Need, skip};
use crate::support::site::{SOS, Site};
use crate::support::{dump, expect, out, salver_in};

const SCRIPT: &str = "
set -e
mount -t overlay overlay -o lowerdir=low,upperdir=up,workdir=work,redirect_dir=off merged
spool='--spool merged/spool'
$salver -q $spool record --force config/sos.yaml > /dev/null
$salver -q $spool purge --all --yes
$salver -q $spool record --force config/sos.yaml > /dev/null
$salver -q $spool status --check > /dev/null
echo \"left: $(grep -rlF -e $uuid merged/spool | wc -l)\"
echo \"waiting: $($salver -q $spool dump --format ndjson | wc -l)\"
";

#[test]
fn records_are_written_and_erased_in_the_lower_layer_of_an_overlay() {
    let can_mount = is_root()
        && Command::new("unshare").args(["--mount", "true"]).status().is_ok_and(|status| status.success());
    if !can_mount {
        return skip(Need::ReadOnlyMount);
    }
    let site = Site::of_sos(SOS);
    let record = ["record", "--force", "config/sos.yaml"];
    expect(salver_in(&site.spool()).args(record).current_dir(site.path(".")), 0);
    let uuid = dump(&site.spool())[0]["spool"]["uuid"].as_str().unwrap().to_owned();
    for name in ["low", "up", "work", "merged"] {
        fs::create_dir(site.path(name)).unwrap();
        chmod(&site.path(name), 0o700);
    }
    copy(&site.spool(), &site.path("low/spool"));
    chmod(&site.path("low/spool"), 0o700);
    let mut shell = Command::new("unshare");
    shell.args(["--mount", "sh", "-c", SCRIPT]).current_dir(site.path("."));
    shell.env("salver", env!("CARGO_BIN_EXE_salver")).env("uuid", &uuid);
    let said = shell.output().unwrap();
    if String::from_utf8_lossy(&said.stderr).contains("mount:") {
        return skip(Need::ReadOnlyMount);
    }
    assert!(said.status.success(), "{said:?}");
    assert!(out(&said).ends_with("left: 0\nwaiting: 1\n"), "{said:?}");
}
