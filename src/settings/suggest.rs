//! Suggests the nearest known key for one that is no setting.
//!
//! The two usual slips are a mistyped word and a key under the wrong section; both can be named.
//! The third, a secret that became a key (`apiKey:phc_...` without the space), must not be: only a
//! key that looks like a word is shown.

/// Similarity (0 to 1) from which a known key counts as what was meant.
const NEAR: f64 = 0.5;
/// The longest setting has 15 letters; project keys and sensible passwords are longer than this or
/// not all letters.
const WORD: usize = 24;

/// The key in quotes if it can be shown, else a description of it.
pub(super) fn show(key: &str) -> String {
    let word = key.chars().all(|c| c.is_ascii_alphabetic() || c == '_' || c == '-');
    let secret = ["phc_", "phx_"].iter().any(|start| key.to_ascii_lowercase().starts_with(start));
    if word && !secret && (1..=WORD).contains(&key.len()) {
        format!("\"{key}\"")
    } else {
        "this key (not shown, as it may hold a secret; is a space missing after a colon?)".to_owned()
    }
}

/// The next step for an unknown key that stands where `here` are the known ones. `sections` are all
/// sections with their keys.
pub(super) fn help(key: &str, here: &[&str], sections: &[(&'static str, Vec<&'static str>)]) -> String {
    let elsewhere =
        sections.iter().flat_map(|(section, keys)| keys.iter().map(move |known| (*known, Some(*section))));
    let candidates = elsewhere.chain(here.iter().map(|known| (*known, None)));
    let scored = candidates.map(|candidate| (likeness(key, candidate.0), candidate));
    // Of equals the last wins, which is one from here.
    let nearest = scored.filter(|(score, _)| *score >= NEAR).max_by(|a, b| a.0.total_cmp(&b.0));
    let all = here.join(", ");
    match nearest.map(|(_, candidate)| candidate) {
        Some((known, None)) => format!("did you mean \"{known}\"? Known here: {all}"),
        Some((known, Some(section))) => {
            format!("\"{known}\" belongs under \"{section}\", indented. Known here: {all}")
        }
        None => format!("known here: {all}"),
    }
}

/// From 0 (nothing in common) to 1 (the same but for case and hyphens).
fn likeness(typed: &str, known: &str) -> f64 {
    strsim::normalized_damerau_levenshtein(&plain(typed), &plain(known))
}

/// `max_bytes`, `max-bytes` and `MaxBytes` are all the same slip.
fn plain(key: &str) -> String {
    key.chars().filter(|c| !matches!(c, '_' | '-')).collect::<String>().to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn help_here(key: &str, here: &[&str]) -> String {
        help(key, here, &super::super::file::sections())
    }

    #[test]
    fn the_nearest_known_key_is_named() {
        let known = ["mode", "every", "batchEvents", "batchBytes"];
        for (typed, meant) in [("mod", "mode"), ("batch_bytes", "batchBytes"), ("batchEvent", "batchEvents")]
        {
            let help = help_here(typed, &known);
            assert!(help.starts_with(&format!("did you mean \"{meant}\"?")), "{help}");
        }
        assert_eq!(help_here("colour", &["mode"]), "known here: mode");
    }

    #[test]
    fn a_key_of_another_section_is_sent_there() {
        assert!(
            help_here("apikey", &["mode"]).starts_with("\"apiKey\" belongs under \"posthog\", indented.")
        );
        assert!(help_here("wait", &["watch", "flush"]).starts_with("\"wait\" belongs under \"spool\""));
        assert!(help_here("mod", &["mode"]).starts_with("did you mean \"mode\"?"));
    }

    #[test]
    fn a_key_that_may_be_a_secret_is_not_shown() {
        assert_eq!(show("max_byte"), "\"max_byte\"");
        for key in [
            "apiKey:phc_abc",
            "phc_abc",
            "PHX_abc",
            "hunter2",
            "",
            "http://me:pw@proxy",
            "abcdefghijklmnopqrstuvwxyz",
        ] {
            let shown = show(key);
            assert!(key.is_empty() || !shown.contains(key), "{shown}");
            assert!(shown.starts_with("this key"), "{shown}");
        }
    }
}
