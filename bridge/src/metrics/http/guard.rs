//! Guard: what every request passes before it is answered, and the headers of every answer.
//!
//! Without a token only requests to this machine's own names and to IP addresses are answered, so that a foreign site cannot
//! reach the page by a name of its own that it points here (DNS rebinding). With a token, the token decides. A token in a
//! page's address is put into a cookie, and the browser is sent to the address without it. Requests that change something
//! must be JSON, of the page's own origin, and carry the number that only the page can read ([`Guard::session`]).

use super::gate::{Gate, Pass};
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Response};
use std::net::IpAddr;
use std::sync::Arc;

/// The header that carries the session's number in requests that change something.
pub const SESSION_HEADER: &str = "x-hueflow-session";
/// Where the login form posts to.
pub const LOGIN: &str = "/login";
/// Only own files; no other page may frame it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; \
                      connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
const LOGIN_PAGE: &str = include_str!("../ui/login.html");
/// Longest body of the login form that is looked at.
const LOGIN_BYTES_MAX: usize = 1_024;

/// What requests are judged by.
#[derive(Debug)]
pub struct Guard {
    gate: Option<Gate>,
    /// Names that the page is reached by, beside this machine's own.
    hosts: Vec<String>,
    session: String,
}

impl Guard {
    /// A guard with the token, if there is one, and the names of `web.hosts`.
    pub fn new(gate: Option<Gate>, hosts: Vec<String>) -> Guard {
        Guard { gate, hosts, session: format!("{:032x}", rand::random::<u128>()) }
    }

    /// The number that requests which change something must carry; another one for each start of the program.
    pub fn session(&self) -> &str {
        &self.session
    }

    /// Whether a request for `host` is meant for this page.
    fn is_own_host(&self, host: &str) -> bool {
        let name = match host.strip_prefix('[') {
            Some(rest) => rest.split(']').next().unwrap_or(""),
            None => host.split(':').next().unwrap_or(""),
        };
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        name == "localhost" || name.parse::<IpAddr>().is_ok() || self.hosts.contains(&name)
    }

    /// Checks a request that changes something.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check_change(&self, headers: &HeaderMap) -> Result<(), (StatusCode, &'static str)> {
        let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or("");
        let kind = text("content-type").split(';').next().unwrap_or("").trim();
        if !kind.eq_ignore_ascii_case("application/json") {
            return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, "send JSON (Content-Type: application/json)"));
        }
        let origin = text("origin").split_once("://").map_or("", |(_, host)| host);
        let is_foreign = !matches!(text("sec-fetch-site"), "" | "same-origin");
        if origin.is_empty() || !origin.eq_ignore_ascii_case(text("host")) || is_foreign {
            return Err((
                StatusCode::FORBIDDEN,
                "commands are taken from this page alone: the request's Origin is another",
            ));
        }
        if text(SESSION_HEADER) != self.session {
            let old = "the page is older than the program, which was restarted since: load it again";
            return Err((StatusCode::FORBIDDEN, old));
        }
        Ok(())
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|v| v.to_str().ok())
}

/// Judges a request, and adds the headers that keep browsers from doing more with the answer than showing it.
pub async fn judge(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    let mut response = admit(&guard, request, next).await;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert("cross-origin-resource-policy", HeaderValue::from_static("same-origin"));
    response
}

async fn admit(guard: &Guard, request: Request, next: Next) -> Response {
    let Some(gate) = &guard.gate else {
        let host = text(request.headers(), &header::HOST).unwrap_or("");
        if !host.is_empty() && !guard.is_own_host(host) {
            let text = "this name is not one of the page's: open it by its IP address, or add the name to web.hosts\n";
            return (StatusCode::MISDIRECTED_REQUEST, text).into_response();
        }
        return next.run(request).await;
    };
    let is_secure = text(request.headers(), &header::HeaderName::from_static("x-forwarded-proto")) == Some("https");
    if request.uri().path() == LOGIN && request.method() == axum::http::Method::POST {
        return log_in(gate, request, is_secure).await;
    }
    let pass = {
        let headers = request.headers();
        gate.judge(text(headers, &header::AUTHORIZATION), request.uri().query(), text(headers, &header::COOKIE))
    };
    match pass {
        Pass::Yes => next.run(request).await,
        Pass::Remember if is_page(request.uri()) => remember(gate, &without_token(request.uri()), is_secure),
        Pass::Remember => next.run(request).await,
        Pass::No => {
            let wants_page = text(request.headers(), &header::ACCEPT).is_some_and(|a| a.contains("text/html"));
            if wants_page {
                return (StatusCode::UNAUTHORIZED, Html(LOGIN_PAGE)).into_response();
            }
            let text = "a token is needed: Authorization: Bearer TOKEN, or ?token=TOKEN\n";
            (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Bearer")], text).into_response()
        }
    }
}

/// Whether an address is one that people open, not one that programs read.
fn is_page(uri: &Uri) -> bool {
    !["/api/", "/metrics", "/healthz", "/ui/"].iter().any(|p| uri.path().starts_with(p))
}

/// Sets the cookie and sends the browser to `to`.
fn remember(gate: &Gate, to: &str, is_secure: bool) -> Response {
    (StatusCode::SEE_OTHER, [(header::SET_COOKIE, gate.cookie(is_secure)), (header::LOCATION, to.to_owned())])
        .into_response()
}

fn without_token(uri: &Uri) -> String {
    let query: Vec<&str> = uri.query().unwrap_or("").split('&').filter(|p| !p.starts_with("token=")).collect();
    let query = query.join("&");
    // Two slashes at the beginning would name another host.
    let path = format!("/{}", uri.path().trim_start_matches('/'));
    if query.is_empty() { path } else { format!("{path}?{query}") }
}

async fn log_in(gate: &Gate, request: Request, is_secure: bool) -> Response {
    let body = axum::body::to_bytes(request.into_body(), LOGIN_BYTES_MAX).await.unwrap_or(Bytes::new());
    // A token has no character that a form would encode, except `~`.
    let form = String::from_utf8_lossy(&body).replace("%7E", "~");
    match gate.judge(None, Some(&form), None) {
        Pass::No => (StatusCode::UNAUTHORIZED, Html(LOGIN_PAGE.replace("hidden", ""))).into_response(),
        _ => remember(gate, "/", is_secure),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_own_names_addresses_and_configured_names_are_answered() {
        let guard = Guard::new(None, vec!["page.example".into()]);
        for own in
            ["localhost:8080", "LOCALHOST", "127.0.0.1:1", "[::1]:8080", "192.168.1.7", "page.example:80", "localhost."]
        {
            assert!(guard.is_own_host(own), "{own}");
        }
        for foreign in ["evil.example", "localhost.evil.example:8080", "127.0.0.1.nip.example", "[evil]:1", ""] {
            assert!(!guard.is_own_host(foreign), "{foreign}");
        }
    }

    #[test]
    fn a_change_must_be_json_of_the_own_origin_with_the_session_s_number() {
        let guard = Guard::new(None, vec![]);
        let request = |edit: &dyn Fn(&mut HeaderMap)| {
            let mut headers = HeaderMap::new();
            for (name, value) in [
                ("host", "127.0.0.1:8080"),
                ("origin", "http://127.0.0.1:8080"),
                ("content-type", "application/json"),
                (SESSION_HEADER, guard.session()),
            ] {
                headers.insert(name, value.parse().unwrap());
            }
            edit(&mut headers);
            guard.check_change(&headers).map_err(|(status, _)| status.as_u16())
        };
        assert_eq!(request(&|_| ()), Ok(()));
        let with = |name: &'static str, value: &'static str| {
            request(&move |h: &mut HeaderMap| drop(h.insert(name, HeaderValue::from_static(value))))
        };
        assert_eq!(with("content-type", "text/plain"), Err(415));
        assert_eq!(with("content-type", "application/x-www-form-urlencoded"), Err(415));
        assert_eq!(with("origin", "http://evil.example"), Err(403));
        assert_eq!(with("origin", "null"), Err(403));
        assert_eq!(with("sec-fetch-site", "cross-site"), Err(403));
        assert_eq!(with(SESSION_HEADER, "0"), Err(403));
        assert_eq!(request(&|h| drop(h.remove("origin"))), Err(403));
        assert_eq!(request(&|h| drop(h.remove(SESSION_HEADER))), Err(403));
    }

    #[test]
    fn the_token_leaves_the_address_and_the_rest_of_it_stays() {
        let of = |text: &str| without_token(&text.parse().unwrap());
        assert_eq!(of("/?token=abc"), "/");
        assert_eq!(of("/device/a?from=1&token=abc&to=2"), "/device/a?from=1&to=2");
        assert_eq!(of("//evil.example/?token=abc"), "/evil.example/");
        assert!(is_page(&"/device/a".parse().unwrap()) && !is_page(&"/api/devices".parse().unwrap()));
    }
}
