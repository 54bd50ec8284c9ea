//! Certificates for a test, made by the script that is shipped for them.
//!
//! The folder gets a CA and what it signs. No certificate is kept: each test makes its own.

use crate::root;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A CA and its folder.
pub struct Certs {
    dir: PathBuf,
}

impl Certs {
    /// A CA of its own in `dir`.
    pub fn new(dir: &Path) -> Certs {
        let certs = Certs { dir: dir.to_path_buf() };
        certs.certify(&["ca"]);
        certs
    }

    /// Runs `deploy/certify` on this folder.
    pub fn certify(&self, args: &[&str]) {
        let out =
            Command::new(root().join("deploy/certify")).arg(&self.dir).args(args).output().expect("certify starts");
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    }

    /// A file of the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The CA's certificate.
    pub fn ca(&self) -> PathBuf {
        self.path("ca.pem")
    }

    /// Lays certificate and key of `name` where a broker looks for them: `to/hueflow.pem` and `to/hueflow.key`.
    pub fn install(&self, name: &str, to: &Path) {
        std::fs::create_dir_all(to).expect("a folder");
        for end in ["pem", "key"] {
            std::fs::copy(self.path(&format!("{name}.{end}")), to.join(format!("hueflow.{end}"))).expect("a copy");
        }
    }
}
