//! Access to the page by a token.
//!
//! [`Gate::judge`] gets what a request carries (an `Authorization` header, its query, its cookies) and gives whether it
//! passes. The token is compared in constant time, and it is in no log, no error and no debug form.

use subtle::ConstantTimeEq;

/// Shortest token that is taken.
const TOKEN_BYTES_MIN: usize = 16;
/// The cookie that remembers a token given in a query, for what the page asks next.
pub const COOKIE: &str = "hueflow_token";

/// A page's token.
#[derive(Clone, PartialEq, Eq)]
pub struct Gate {
    token: String,
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Gate")
    }
}

/// Whether a request passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// It carries no token, or another one.
    No,
    /// It carries the token.
    Yes,
    /// Its query does: the answer sets the cookie.
    Remember,
}

impl Gate {
    /// A gate that `text`, a file's content, opens.
    ///
    /// # Errors
    /// What it must be.
    pub fn new(text: &str) -> Result<Gate, &'static str> {
        let token = text.trim();
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'~');
        if token.len() < TOKEN_BYTES_MIN || !token.bytes().all(plain) {
            return Err("must hold one token of at least 16 letters, digits, `.`, `-`, `_` or `~`");
        }
        Ok(Gate { token: token.to_owned() })
    }

    /// Judges a request.
    pub fn judge(&self, authorization: Option<&str>, query: Option<&str>, cookies: Option<&str>) -> Pass {
        let bearer = authorization.and_then(|a| a.strip_prefix("Bearer "));
        let cookie = cookies.and_then(|c| c.split(';').find_map(|c| c.trim().strip_prefix(COOKIE)?.strip_prefix('=')));
        if [bearer, cookie].into_iter().flatten().any(|t| self.is_token(t)) {
            return Pass::Yes;
        }
        let query = query.and_then(|q| q.split('&').find_map(|p| p.strip_prefix("token=")));
        if query.is_some_and(|t| self.is_token(t)) { Pass::Remember } else { Pass::No }
    }

    /// The cookie that remembers; with `is_secure` the browser sends it over TLS alone.
    pub fn cookie(&self, is_secure: bool) -> String {
        let secure = if is_secure { "; Secure" } else { "" };
        format!("{COOKIE}={}; Path=/; HttpOnly; SameSite=Strict{secure}", self.token)
    }

    fn is_token(&self, other: &str) -> bool {
        self.token.as_bytes().ct_eq(other.as_bytes()).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_opens_and_it_is_never_shown() {
        let g = Gate::new("0123456789abcdef\n").unwrap();
        assert_eq!(g.judge(None, None, None), Pass::No);
        assert_eq!(g.judge(Some("Bearer 0123456789abcdef"), None, None), Pass::Yes);
        assert_eq!(g.judge(Some("0123456789abcdef"), None, None), Pass::No);
        assert_eq!(g.judge(None, Some("last=5&token=0123456789abcdef"), None), Pass::Remember);
        assert_eq!(g.judge(None, None, Some("x=1; hueflow_token=0123456789abcdef")), Pass::Yes);
        for wrong in ["", "0123456789abcde", "0123456789abcdeg", "0123456789abcdef0"] {
            assert_eq!(g.judge(Some(&format!("Bearer {wrong}")), None, None), Pass::No);
        }
        assert!(!g.cookie(false).contains("Secure") && g.cookie(true).ends_with("; Secure"));
        assert!(!format!("{g:?}").contains("0123"));
        assert!(Gate::new("short").is_err() && Gate::new("0123456789 abcdef").is_err());
    }
}
