//! Promise 8, the half that is easily forgotten: off is a decision, absence is not. Whatever an editor, a full disk or a
//! broken line leaves of a config file that gave consent, nothing that waits is erased; only a whole file that says no does that.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::folders::files;
use crate::support::posthog::PostHog;
use crate::support::service::Service;
use crate::support::site::{SOS, SWITCHES, Site, flip};
use crate::support::{corpus, expect, fixture};
use salver::record::catalogue::Catalogue;
use salver::record::observe::{State, observe};
use salver::record::subject::Subject;

/// The files of this name below a folder. All of them give consent.
fn config_files(folder: PathBuf, name: &str) -> Vec<PathBuf> {
    let mut files = files(&folder);
    files.retain(|path| path.ends_with(name));
    files
}

/// The instance of a copy of the file; its folder is named after the release that it belongs to.
fn subject(file: &Path, copy: &Path) -> Subject {
    let release = file.parent().unwrap().file_name().unwrap().to_str().unwrap();
    Subject {
        files: vec![copy.to_owned()],
        service: None,
        service_version: Some(release.parse().unwrap()),
        node_version: None,
    }
}

/// What a look at the first `end` bytes of a file comes to.
fn look(catalogue: &Catalogue, subject: &Subject, text: &[u8], end: usize) -> Option<State> {
    fs::write(&subject.files[0], &text[..end]).unwrap();
    observe(catalogue, subject).ok().map(|observation| observation.state)
}

/// The ends worth trying: every line and every byte around the consent, and a dozen places behind it, where nothing can be
/// taken for a refusal any more.
fn ends(text: &[u8]) -> impl Iterator<Item = usize> {
    let consent = text.windows(13).position(|it| it == b"anonTelemetry").unwrap();
    let around = consent.saturating_sub(40)..(consent + 60).min(text.len());
    let lines = (0..consent).filter(|at| text[*at] == b'\n').flat_map(|at| [at, at + 1]);
    let beyond = (around.end..text.len()).step_by((text.len() / 12).max(1));
    lines.chain(around).chain(beyond)
}

#[test]
fn no_cut_of_any_config_file_counts_as_withdrawn_consent() {
    let files = config_files(fixture(""), "production.yaml");
    assert_eq!(files.len(), 8, "{files:?}");
    assert_no_cut_withdraws(files);
}

#[test]
fn no_cut_of_a_real_template_counts_as_withdrawn_consent() {
    let Some(corpus) = corpus() else { return };
    let files = config_files(corpus, "template.yaml");
    assert!(files.len() > 8, "{files:?}");
    assert_no_cut_withdraws(files);
}

fn assert_no_cut_withdraws(files: Vec<PathBuf>) {
    let least = 100 * files.len();
    let catalogue = Catalogue::load(&[]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("production.yaml");
    let mut cuts = 0;
    for file in files {
        let unix = fs::read_to_string(&file).unwrap().replace("\r\n", "\n");
        let subject = subject(&file, &place);
        for text in [unix.clone(), unix.replace('\n', "\r\n")] {
            let text = text.as_bytes();
            let whole = look(&catalogue, &subject, text, text.len());
            assert!(matches!(whole, Some(State::Reportable(_))), "{}: {whole:?}", file.display());
            for end in ends(text) {
                cuts += 1;
                let cut = look(&catalogue, &subject, text, end);
                assert!(!matches!(cut, Some(State::Withdrawn(_))), "{} cut off at {end}", file.display());
            }
        }
    }
    assert!(cuts > least, "only {cuts} cuts");
}

/// What an editor that truncates before it writes, or a write that is interrupted, leaves for a while.
const LEFT_OVER: [&str; 6] = [
    "",
    "# Butler SOS on the production server\n",
    "Butler-SOS:\n",
    "Butler-SOS:\n    logLevel: info\n",
    "Butler-SOS:\n    logLevel: info\n    anonTelemetry: tr",
    "Butler-SOS:\n    logLevel: info\n    anonTelemetry:",
];

#[test]
fn a_service_loses_nothing_when_every_save_truncates_the_file_first() {
    let posthog = PostHog::start();
    let site = Site::of_sos(SOS);
    let url = posthog.url();
    site.settings(&format!(
        "watch: {{settle: 10ms}}\nposthog: {{host: '{url}', apiKey: phc_not_a_real_key}}\n\
         instances: [{{name: sos, configFile: config/sos.yaml}}]\n"
    ));
    let mut service = Service::start(site.salver().args(["-v", "run"]));
    service.wait_for_records(1);
    let mut config = SOS.to_owned();
    for (save, left) in LEFT_OVER.iter().cycle().take(2 * LEFT_OVER.len()).enumerate() {
        let words = if left.contains("logLevel") { "not collected: " } else { "held: " };
        service.wait_for_words_after(words, || site.write("config/sos.yaml", left));
        let before = site.uuids();
        assert_eq!(before.len(), save + 1, "{left:?} costs nothing");
        expect(site.salver().arg("flush"), 0);
        assert_eq!((posthog.requests(), site.uuids()), (0, before), "and nothing is sent meanwhile");
        config = flip(&config, SWITCHES[save % SWITCHES.len()].0);
        site.write("config/sos.yaml", &config);
        service.wait_for_records(save + 2);
    }
    service.stop();
    let written = site.uuids();
    expect(site.salver().arg("flush"), 0);
    assert_eq!((posthog.uuids(), site.uuids()), (written, Vec::new()), "once it is whole all of it is sent");
}

#[test]
fn consent_that_is_withdrawn_for_a_moment_costs_nothing_however_often() {
    let site = Site::of_sos(SOS);
    site.settings("watch: {settle: 1s, poll: 1h}\ninstances: [{name: sos, configFile: config/sos.yaml}]\n");
    let mut service = Service::start(site.salver().args(["-vv", "run"]));
    service.wait_for_records(1);
    let before = site.uuids();
    for _ in 0..2 {
        service.wait_for_words_after("is read once more", || {
            site.write("config/sos.yaml", &SOS.replace("anonTelemetry: true", "anonTelemetry: false"));
        });
        service.wait_for_an_idle_look_after(|| site.write("config/sos.yaml", SOS));
    }
    service.stop();
    assert_eq!(site.uuids(), before);
}

#[test]
fn what_is_left_over_is_off_and_holds_and_says_why() {
    let site = Site::of_sos(SOS);
    site.settings("watch: {settle: 10ms}\ninstances: [{name: sos, configFile: config/sos.yaml}]\n");
    expect(site.salver().arg("record"), 0);
    let records = site.dump();
    site.write("config/sos.yaml", LEFT_OVER[3]);
    expect(site.salver().arg("record"), 3);
    expect(site.salver().args(["preview", "sos"]), 3);
    let status = site.status();
    let why = status["instances"][0]["why"].as_str().unwrap();
    assert!(
        why.starts_with("Butler-SOS.anonTelemetry is missing, but the file may be half written"),
        "{why}"
    );
    assert_eq!((site.dump(), &status["instances"][0]["collecting"]), (records, &false.into()));

    // The whole file without the line: a decision.
    site.write("config/sos.yaml", &SOS.replace("    anonTelemetry: true # consent\n", ""));
    expect(site.salver().arg("record"), 3);
    assert_eq!(site.status()["instances"][0]["why"], "Butler-SOS.anonTelemetry is missing");
    assert!(site.dump().is_empty(), "withdrawn, so erased");
}
