//! Why a Kafka cluster cannot be reached: librdkafka's text, and what to do.
//!
//! librdkafka reports reasons only to a client context, which passes them on here; errors then name the reason instead of a
//! time that has passed. Reasons that a person must act on are logged. No password comes in here: librdkafka does not
//! report it.

use super::JournalError;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The last reason that librdkafka gave for not connecting. All clients of a journal share it.
#[derive(Clone, Default)]
pub(super) struct LastFault(Arc<Mutex<Option<Reason>>>);

#[derive(Clone, PartialEq, Eq)]
struct Reason {
    text: String,
    advice: &'static str,
    /// librdkafka reports it of a connection that it saw fail, not of one that ended in another way.
    sure: bool,
}

impl LastFault {
    /// Keeps an error. It is logged if a person must mend it and it is not the same as the last one.
    pub(super) fn error(&self, text: &str) {
        let reason = Reason::new(text, true);
        let mut last = self.lock();
        if last.as_ref() != Some(&reason) {
            match reason.advice {
                "" => log::debug!("Kafka: {}", reason.text),
                advice => log::warn!("Kafka: {}: {advice}", reason.text),
            }
            *last = Some(reason);
        }
    }

    /// Keeps what may be the reason, unless there is a better one.
    pub(super) fn hint(&self, text: &str) {
        let mut last = self.lock();
        if last.as_ref().is_none_or(|r| !r.sure || r.advice.is_empty()) {
            *last = Some(Reason::new(text, false));
        }
    }

    /// It answers.
    pub(super) fn forget(&self) {
        *self.lock() = None;
    }

    /// Only a person can mend it.
    pub(super) fn is_final(&self) -> bool {
        self.lock().as_ref().is_some_and(|r| r.sure && !r.advice.is_empty())
    }

    /// The error for a cluster that cannot be reached: with the reason, where there is one.
    pub(super) fn away(&self, what: impl std::fmt::Display) -> JournalError {
        JournalError::Away(match self.lock().as_ref() {
            None => what.to_string(),
            Some(Reason { text, advice: "", .. }) => format!("{what}: {text}"),
            Some(Reason { text, advice, .. }) => format!("{text}: {advice}"),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Option<Reason>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reason {
    fn new(text: &str, sure: bool) -> Reason {
        // Without the thread's name, and without how long it took, so that the same is the same.
        let text = text.strip_prefix("[thrd:").and_then(|t| t.split_once("]: ")).map_or(text, |(_, t)| t);
        let text = text.split(" (after ").next().unwrap_or(text).to_owned();
        Reason { advice: advice(&text), text, sure }
    }
}

/// Whether an error names settings of ours: then those are to be mended, and nothing else.
pub(crate) fn names_settings(error: &str) -> bool {
    ["journal.password_file", "journal.ca_file", "journal.cert_file", "kafka+ssl://"].iter().any(|k| error.contains(k))
}

/// What a person can do about librdkafka's error; nothing for what passes by itself.
fn advice(text: &str) -> &'static str {
    let has = |words: &[&str]| words.iter().any(|w| text.contains(w));
    if has(&["SASL authentication error", "Authentication failed", "mechanism handshake failed"]) {
        "check the user in journal.url, journal.password_file and journal.sasl"
    } else if has(&["certificate could not be verified", "certificate verify failed"]) {
        "journal.ca_file must hold the CA that signed the broker's certificate, journal.url a name that is in it, and it \
         must not have expired (openssl s_client -connect HOST:PORT -CAfile FILE shows which)"
    } else if has(&["SSL authentication might be required", "certificate required", "bad certificate"]) {
        "the broker wants a certificate of ours, of a CA that it trusts: journal.cert_file and journal.key_file"
    } else if has(&["connecting to a PLAINTEXT broker listener", "wrong version number", "packet length too long"]) {
        "it does not speak TLS there: journal.url with another port, or kafka:// instead of kafka+ssl://"
    } else if has(&["Disconnected: SSL connection closed"]) {
        "does it want a user (USER@ in journal.url, and journal.password_file)?"
    } else if has(&["Disconnected: connection closed"]) {
        "does it want TLS (kafka+ssl:// in journal.url), or a user (USER@ there, and journal.password_file)?"
    } else {
        ""
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_librdkafka_says_is_kept_once_and_comes_with_what_to_do() {
        let last_fault = LastFault::default();
        let refused = "h:1/bootstrap: Connect to h:1 failed: Connection refused (after 2ms in state CONNECT)";
        last_fault.error(refused);
        assert!(
            !last_fault.is_final()
                && last_fault
                    .away("x")
                    .to_string()
                    .ends_with("x: h:1/bootstrap: Connect to h:1 failed: Connection refused")
        );
        let wrong = "h:1/bootstrap: SASL authentication error: Authentication failed (after 3ms in state AUTH_REQ)";
        last_fault.error(wrong);
        last_fault.hint("[thrd:h:1/bootstrap]: h:1/bootstrap: Disconnected (after 1ms in state UP)");
        let text = last_fault.away("x").to_string();
        assert!(
            last_fault.is_final()
                && text.contains("SASL authentication error")
                && text.contains("journal.password_file")
        );
        last_fault.forget();
        assert_eq!(last_fault.away("x"), JournalError::Away("x".to_owned()));
        last_fault.hint(
            "[thrd:h:1/bootstrap]: h:1/bootstrap: Disconnected: connection closed by peer (after 1ms in state UP)",
        );
        let text = last_fault.away("x").to_string();
        assert!(
            !last_fault.is_final() && text.contains(": h:1/bootstrap: Disc") && text.contains("kafka+ssl://"),
            "{text}"
        );
        last_fault.error(refused);
        assert!(!last_fault.away("x").to_string().contains("kafka+ssl://"), "a known reason is named instead");
        for (text, key) in [
            (
                "SSL handshake failed: error: certificate verify failed: broker certificate could not be verified",
                "ca_file",
            ),
            ("h:1/bootstrap: Disconnected: SSL connection closed by peer", "USER@"),
            ("SSL handshake failed: Disconnected: connecting to a PLAINTEXT broker listener?", "kafka://"),
        ] {
            assert!(advice(text).contains(key), "{text}");
        }
    }
}
