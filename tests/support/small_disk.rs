//! A small disk of a test's own, which can be filled up without anybody else's noticing.
//!
//! It is a tmpfs that a child process mounted in a mount namespace of its own; it is seen through `/proc/PID/root` and gone with
//! the child. That takes root and util-linux.

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use super::err;
use super::needs::{Need, skip};
use super::posthog::PostHog;
use super::site::{SOS, Site};

/// Run by the child before it waits for its end.
const BIRTH: &str = "mount -t tmpfs -o size=$0,mode=755 none /mnt && echo ready && read wait";

/// The disk.
pub struct SmallDisk {
    keeper: Child,
}

impl SmallDisk {
    /// One of this size, in the words of `mount`; or none where that cannot be.
    pub fn new(size: &str) -> Option<SmallDisk> {
        let mut unshare = Command::new("unshare");
        unshare.args(["--mount", "sh", "-c", BIRTH, size]);
        unshare.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut said = String::new();
        if let Ok(mut keeper) = unshare.spawn() {
            BufReader::new(keeper.stdout.take().unwrap()).read_line(&mut said).unwrap();
            let disk = SmallDisk { keeper };
            if said == "ready\n" && fs::write(disk.path().join("probe"), "").is_ok() {
                return Some(disk);
            }
        }
        skip(Need::SmallDisk);
        None
    }

    /// Where it is.
    pub fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root/mnt", self.keeper.id()))
    }

    /// A site whose spool is on it, with settings that lead to a server.
    pub fn site(&self, posthog: &PostHog) -> Site {
        let site = Site::of_sos(SOS);
        site.write(
            "salver.yaml",
            &format!(
                "spool: {{directory: '{}'}}\nwatch: {{settle: 10ms, poll: 1s}}\nposthog: {{host: '{}', apiKey: phc_test}}\n\
                 instances: [{{name: sos, configFile: config/sos.yaml}}]\n",
                self.path().join("spool").display(),
                posthog.url()
            ),
        );
        site
    }

    /// Lets `record` run into the full disk, so that nothing is left of it but the spool.
    pub fn fill_by_recording(&self, site: &Site) {
        let mut failed = 0;
        // A disk is full in pages, so a record or two may still fit.
        for _ in 0..10 {
            self.fill();
            let output = site.salver().args(["record", "--force"]).output().unwrap();
            if output.status.success() {
                continue;
            }
            failed += 1;
            assert_eq!(output.status.code(), Some(1), "{}", err(&output));
            assert!(err(&output).contains("free some space"), "{}", err(&output));
            assert!(!err(&output).contains("panicked"), "{}", err(&output));
        }
        assert!(failed > 0, "the disk was never full");
        self.fill();
    }

    /// Makes it one that can be written (`rw`) or not (`ro`).
    pub fn remount(&self, how: &str) {
        super::expect(self.enter().args(["mount", "-o", &format!("remount,{how}"), "/mnt"]), 0);
    }

    /// Shows a folder of it a second time, as another one; both are made.
    pub fn bind(&self, folder: &str, other: &str) {
        let at = |name: &str| format!("/mnt/{name}");
        [folder, other].iter().for_each(|name| fs::create_dir(self.path().join(name)).unwrap());
        super::expect(self.enter().args(["mount", "--bind", &at(folder), &at(other)]), 0);
    }

    /// A program, still to be named, that sees the disk at `/mnt`.
    pub fn enter(&self) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.keeper.id().to_string(), "--mount", "--"]);
        command
    }

    /// Fills what is free, to the last byte.
    pub fn fill(&self) {
        let mut filler =
            fs::File::options().create(true).append(true).open(self.path().join("filler")).unwrap();
        for portion in [64 * 1024, 4096, 1] {
            loop {
                match filler.write(&vec![b'x'; portion]) {
                    Ok(_) => {}
                    Err(error) if error.kind() == ErrorKind::StorageFull => break,
                    Err(error) => panic!("{error}"),
                }
            }
        }
    }

    /// Fills all but so many bytes; as file systems give room in pages, it may be some less.
    pub fn fill_but(&self, free: u64) {
        self.fill();
        let filler = fs::File::options().write(true).open(self.path().join("filler")).unwrap();
        let full = filler.metadata().unwrap().len();
        filler.set_len(full.saturating_sub(free)).unwrap();
    }

    /// Frees what was filled.
    pub fn free(&self) {
        _ = fs::remove_file(self.path().join("filler"));
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        _ = self.keeper.kill();
        _ = self.keeper.wait();
    }
}
