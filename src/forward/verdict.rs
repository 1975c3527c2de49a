//! What an answer means for the records that were sent: pure, one row for every answer.
//!
//! A status code alone cannot decide about a record, since portals and proxies answer in PostHog's
//! place. So **a record leaves the queue only on PostHog's own word**, and every answer that this
//! table does not know keeps it.
//!
//! | answer | the batch | outcome |
//! |---|---|---|
//! | 200, PostHog's JSON | delivered | |
//! | 200, PostHog's JSON with `quota_limited` | kept for an hour: the events are lost | throttled |
//! | 200, anything else (web page, empty, JSON) | kept: a portal or proxy answered | unreachable |
//! | 3xx | kept, not followed: the project key goes to no other host | refused: `posthog.host` |
//! | 400, not a web page | halved until one record is alone, which becomes a dead letter | |
//! | 400, a web page | kept: a portal or proxy answered | unreachable |
//! | 401 | kept | refused: `posthog.apiKey` |
//! | 402 | kept for an hour: over quota | throttled |
//! | 403 | kept | refused: `posthog.host`, firewall |
//! | 404 | kept | refused: `posthog.host` |
//! | 407 | kept | refused: `posthog.proxy` |
//! | 408, 425, 429 | kept, tried again after a backoff | throttled |
//! | 413 | sent again in smaller batches; one record alone becomes a dead letter | |
//! | 5xx | kept, tried again after a backoff (511: a portal) | unreachable |
//! | any other status | kept | refused |
//! | the proxy's own 5xx to `CONNECT` | kept, tried again after a backoff | unreachable |
//! | the proxy's other refusals of `CONNECT` | kept | refused: `posthog.proxy` |
//! | none: name, network, TLS, timeout | kept, same uuids again after a backoff | unreachable |
//!
//! PostHog answers 200 to a well-formed but unknown key (2024's versions also over quota) and drops
//! the events. No client can see that; `doctor` says so.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use super::answer::{Answer, Body, Failure};

/// The pause after a used-up quota, which does not come back within a backoff's minutes.
const QUOTA_PAUSE: Duration = Duration::from_hours(1);

/// How a run of the forwarder ended. The words are part of the command line's contract.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FlushOutcome {
    /// Every record that may be sent has left the queue.
    Drained,
    /// There was nothing to send.
    #[default]
    Empty,
    /// As many records as `--limit` allows have left the queue, and more wait.
    Limit,
    /// No usable answer: network, TLS, portal, 5xx.
    Unreachable,
    /// An answer that only a change of the settings can improve.
    Refused,
    /// PostHog asks for a pause: rate limit or quota.
    Throttled,
}

impl FlushOutcome {
    /// Whether records that may be sent were kept, for a reason that an admin should know.
    pub fn is_failure(self) -> bool {
        match self {
            Self::Drained | Self::Empty | Self::Limit => false,
            Self::Unreachable | Self::Refused | Self::Throttled => true,
        }
    }
}

impl fmt::Display for FlushOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// What an answer means for its batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// PostHog has every record of the batch.
    Delivered,
    /// PostHog refuses the content of at least one record: find it by halving.
    Isolate,
    /// The batch is too large: send fewer records at a time.
    Shrink,
    /// PostHog refuses the content of the batch's only record.
    DeadLetter {
        /// The server's words, for the dead letter.
        words: String,
    },
    /// No record is known to be stored; all stay in the queue.
    Keep(Deferral),
}

/// Why a batch is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deferral {
    /// [`FlushOutcome::Unreachable`], [`FlushOutcome::Refused`] or [`FlushOutcome::Throttled`].
    pub outcome: FlushOutcome,
    pub why: Explanation,
    /// The pause that the server asked for.
    pub retry_after: Option<Duration>,
}

/// The cause and the next step, for an admin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// In salver's own words. Only these may be stored, since a purge does not search other texts
    /// for what it erases.
    pub text: String,
    pub words: Option<String>,
}

impl From<String> for Explanation {
    fn from(text: String) -> Self {
        Explanation { text, words: None }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        self.words.as_ref().map_or(Ok(()), |words| write!(f, ". It says: {words}"))
    }
}

/// Judges the answer to a batch of `events` records.
pub fn judge(answer: &Answer, events: usize) -> Verdict {
    match answer {
        Answer::Http { status, body, retry_after } => judge_http(*status, body, *retry_after, events),
        Answer::ProxyRefused { status } => Verdict::Keep(refused_by_proxy(*status)),
        Answer::Unreachable(failure) => Verdict::Keep(no_answer(*failure)),
    }
}

fn judge_http(status: u16, body: &Body, retry_after: Option<Duration>, events: usize) -> Verdict {
    let kept = |outcome, retry_after, why: &str| {
        let why = Explanation { text: why.to_owned(), words: words(body) };
        Verdict::Keep(Deferral { outcome, why, retry_after })
    };
    match (status, body) {
        (200, Body::Accepted { quota_limited: false }) => Verdict::Delivered,
        (200, Body::Accepted { quota_limited: true }) | (402, _) => {
            kept(FlushOutcome::Throttled, Some(retry_after.unwrap_or(QUOTA_PAUSE)), OVER_QUOTA)
        }
        (200, _) | (400, Body::Html) | (511, _) => kept(FlushOutcome::Unreachable, None, PORTAL),
        (400, _) if events > 1 => Verdict::Isolate,
        (413, _) if events > 1 => Verdict::Shrink,
        (400 | 413, _) => Verdict::DeadLetter { words: dead_words(status, body) },
        (408 | 425 | 429, _) => kept(
            FlushOutcome::Throttled,
            retry_after,
            &format!("PostHog asks for a pause ({status}); try again later"),
        ),
        (500..=599, _) => kept(
            FlushOutcome::Unreachable,
            retry_after,
            &format!("PostHog, or a proxy before it, is out of order ({status}); try again later"),
        ),
        _ => kept(FlushOutcome::Refused, None, &wrong_setting(status)),
    }
}

const OVER_QUOTA: &str = "PostHog's quota for this project is used up; raise the billing limit in PostHog, \
                          or wait for the next billing period";
const PORTAL: &str = "something that is not PostHog answered, such as a captive portal or a proxy's page; \
                      log in to the network, or let this server through the proxy (posthog.proxy)";
const PROXY_CREDENTIALS: &str = "the proxy wants other credentials (407); write them in posthog.proxy. NTLM \
                                 and Kerberos are not supported: such a proxy must let this server through";

/// The setting to change after a status that a retry cannot improve.
fn wrong_setting(status: u16) -> String {
    match status {
        300..=399 => format!(
            "posthog.host answers with a redirect ({status}), which is not followed, so that the project key \
             goes to no other host; write the final address in posthog.host, or log in to the network if a \
             portal did this"
        ),
        401 => "the project key is refused (401); set posthog.apiKey to the project's own key, which starts \
                with phc_ (phx_ is a personal key)"
            .to_owned(),
        403 => "access is forbidden (403); check posthog.host, and that no firewall blocks it".to_owned(),
        404 => "no PostHog ingestion is at this address (404); set posthog.host to a bare address such as \
                https://eu.i.posthog.com"
            .to_owned(),
        407 => PROXY_CREDENTIALS.to_owned(),
        _ => format!("the unknown status {status} came; check that posthog.host names PostHog"),
    }
}

fn refused_by_proxy(status: u16) -> Deferral {
    let (outcome, why) = match status {
        407 => (FlushOutcome::Refused, PROXY_CREDENTIALS.to_owned()),
        500..=599 => {
            let why = format!("the proxy could not reach posthog.host ({status}); check that name");
            (FlushOutcome::Unreachable, why)
        }
        _ => (FlushOutcome::Refused, format!("the proxy refuses to connect ({status}); check posthog.proxy")),
    };
    Deferral { outcome, why: why.into(), retry_after: None }
}

fn no_answer(failure: Failure) -> Deferral {
    let why = format!("PostHog can't be reached: {failure}; {}", failure.next_step());
    Deferral { outcome: FlushOutcome::Unreachable, why: why.into(), retry_after: None }
}

/// The server's words, if it said any.
fn words(body: &Body) -> Option<String> {
    match body {
        Body::Words(words) => Some(words.clone()),
        _ => None,
    }
}

fn dead_words(status: u16, body: &Body) -> String {
    words(body).map_or_else(|| format!("{status}, without a reason"), |words| format!("{status}: {words}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn http(status: u16, body: Body) -> Answer {
        Answer::Http { status, body, retry_after: None }
    }

    fn said(words: &str) -> Body {
        Body::Words(words.to_owned())
    }

    /// Why an answer that must keep a batch keeps it.
    fn kept(answer: &Answer) -> Deferral {
        match judge(answer, 10) {
            Verdict::Keep(deferral) => deferral,
            other => panic!("{answer:?} gave {other:?}"),
        }
    }

    #[test]
    fn only_posthogs_json_with_200_delivers() {
        let accepted = || Body::Accepted { quota_limited: false };
        assert_eq!(judge(&http(200, accepted()), 10), Verdict::Delivered);
        for status in (100..=599).filter(|status| *status != 200) {
            assert_ne!(judge(&http(status, accepted()), 1), Verdict::Delivered, "{status}");
        }
        for body in [Body::Html, Body::Other, said("Ok")] {
            let kept = kept(&http(200, body));
            assert_eq!(kept.outcome, FlushOutcome::Unreachable);
            assert!(kept.why.text.contains("portal"));
        }
    }

    #[test]
    fn refusals_of_content_are_narrowed_down_to_one_record() {
        assert_eq!(judge(&http(400, said("invalid uuid")), 2), Verdict::Isolate);
        assert_eq!(judge(&http(413, said("too large")), 2), Verdict::Shrink);
        let dead = |status, body| judge(&http(status, body), 1);
        assert_eq!(dead(400, said("bad uuid")), Verdict::DeadLetter { words: "400: bad uuid".into() });
        assert_eq!(dead(413, Body::Html), Verdict::DeadLetter { words: "413, without a reason".into() });
        assert_eq!(kept(&http(400, Body::Html)).outcome, FlushOutcome::Unreachable);
    }

    #[test]
    fn refusals_name_the_setting_to_change() {
        for (status, setting, step) in [
            (300, "posthog.host", "write the final address"),
            (399, "posthog.host", "write the final address"),
            (401, "posthog.apiKey", "starts with phc_"),
            (403, "posthog.host", "no firewall blocks it"),
            (404, "posthog.host", "a bare address such as"),
            (407, "posthog.proxy", "NTLM"),
            (204, "posthog.host", "names PostHog"),
            (418, "posthog.host", "names PostHog"),
        ] {
            let kept = kept(&http(status, said("the reason")));
            assert_eq!(kept.outcome, FlushOutcome::Refused, "{status}");
            let why = kept.why.to_string();
            assert!(why.contains(setting) && why.contains(step), "{why}");
            assert!(why.ends_with("It says: the reason"), "{why}");
        }
        assert!(kept(&Answer::ProxyRefused { status: 407 }).why.text.contains("NTLM"));
        assert_eq!(kept(&Answer::ProxyRefused { status: 403 }).outcome, FlushOutcome::Refused);
    }

    #[test]
    fn pauses_are_told_apart_from_outages() {
        let asked = Some(Duration::from_secs(60));
        for status in [402, 408, 425, 429] {
            let kept = kept(&Answer::Http { status, body: Body::Other, retry_after: asked });
            assert_eq!((kept.outcome, kept.retry_after), (FlushOutcome::Throttled, asked), "{status}");
        }
        let limited = kept(&http(200, Body::Accepted { quota_limited: true }));
        let hour = Some(Duration::from_secs(3600));
        assert_eq!((limited.outcome, limited.retry_after), (FlushOutcome::Throttled, hour));
        assert_eq!(kept(&http(402, Body::Other)).retry_after, hour);
        assert_eq!(kept(&http(429, Body::Other)).retry_after, None);
        for status in [500, 502, 503, 504, 511, 599] {
            let kept = kept(&http(status, Body::Html));
            assert_eq!(kept.outcome, FlushOutcome::Unreachable, "{status}");
            assert_eq!(kept.why.text.contains("portal"), status == 511, "{status}");
        }
        let lost = kept(&Answer::Http { status: 503, body: Body::Other, retry_after: asked });
        assert_eq!(lost.retry_after, asked);
        assert_eq!(kept(&Answer::ProxyRefused { status: 502 }).outcome, FlushOutcome::Unreachable);
        let lookup = kept(&Answer::Unreachable(Failure::NameLookup));
        assert_eq!(lookup.outcome, FlushOutcome::Unreachable);
        assert!(lookup.why.text.contains("DNS"));
    }

    #[test]
    fn outcomes_are_written_in_the_contracts_words() {
        for (outcome, word, is_failure) in [
            (FlushOutcome::Drained, "drained", false),
            (FlushOutcome::Empty, "empty", false),
            (FlushOutcome::Limit, "limit", false),
            (FlushOutcome::Unreachable, "unreachable", true),
            (FlushOutcome::Refused, "refused", true),
            (FlushOutcome::Throttled, "throttled", true),
        ] {
            assert_eq!((outcome.to_string().as_str(), outcome.is_failure()), (word, is_failure));
        }
    }
}
