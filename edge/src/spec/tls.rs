//! The files that TLS needs, as the configuration names them.
//!
//! Nothing is read here: `crate::tls` does that.

use std::path::PathBuf;

/// What TLS needs beside the address.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// CA certificates; none: the system's.
    pub ca_file: Option<PathBuf>,
    /// This side's certificate and its key, if the broker asks for one.
    pub own: Option<(PathBuf, PathBuf)>,
}
