//! TLS to an MQTT broker: which CA is trusted, which certificate is shown, and what is wrong if the two sides do not agree.
//!
//! Inputs are the names of PEM files, and errors of a connection. [`Tls::client`] reads the files, or the system's CA
//! certificates if none is named. A certificate is always verified; there is no switch that turns this off. Only this file
//! uses `rustls`. Without the feature `tls` there is [`Tls`] alone.

use std::path::PathBuf;

#[cfg(feature = "tls")]
pub use with_rustls::fault;
#[cfg(not(feature = "tls"))]
pub use without::fault;

/// What TLS needs beside the address.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// CA certificates; none: the system's.
    pub ca_file: Option<PathBuf>,
    /// This side's certificate and its key, if the broker wants one.
    pub own: Option<(PathBuf, PathBuf)>,
}

#[cfg(feature = "tls")]
mod with_rustls {
    use super::Tls;
    use rustls::pki_types::pem::{Error as PemError, PemObject};
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use rustls::{AlertDescription, CertificateError, ClientConfig, RootCertStore};
    use std::error::Error;
    use std::path::Path;
    use std::sync::Arc;

    impl Tls {
        /// Reads the files of an MQTT connection.
        ///
        /// # Errors
        /// A sentence that names key and file.
        pub fn client(&self) -> Result<Arc<ClientConfig>, String> {
            self.client_of("mqtt")
        }

        /// Reads the files, which are keys of `section` in the configuration.
        ///
        /// # Errors
        /// A sentence that names key and file.
        pub fn client_of(&self, section: &str) -> Result<Arc<ClientConfig>, String> {
            let mut roots = RootCertStore::empty();
            match &self.ca_file {
                Some(path) => {
                    for certificate in certificates(&format!("{section}.ca_file"), path)? {
                        let bad = |e| format!("{section}.ca_file = {}: {e}", path.display());
                        roots.add(certificate).map_err(bad)?;
                    }
                }
                None => {
                    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
                }
            }
            if roots.is_empty() {
                return Err(format!(
                    "this system has no CA certificates: name the server's in {section}.ca_file, or install ca-certificates"
                ));
            }
            let ring = Arc::new(rustls::crypto::ring::default_provider());
            let versions = ClientConfig::builder_with_provider(ring).with_safe_default_protocol_versions();
            let builder = versions.map_err(|e| e.to_string())?.with_root_certificates(roots);
            let Some((own, key_file)) = &self.own else { return Ok(Arc::new(builder.with_no_client_auth())) };
            let chain = certificates(&format!("{section}.cert_file"), own)?;
            let key = PrivateKeyDer::from_pem_file(key_file)
                .map_err(|e| unreadable(&format!("{section}.key_file"), key_file, "private key", &e))?;
            let client = builder.with_client_auth_cert(chain, key);
            client
                .map(Arc::new)
                .map_err(|e| format!("{section}.key_file = {} and {section}.cert_file: {e}", key_file.display()))
        }
    }

    fn certificates(key: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
        let bad = |e: PemError| unreadable(key, path, "certificate", &e);
        let all = CertificateDer::pem_file_iter(path).map_err(bad)?.collect::<Result<Vec<_>, _>>().map_err(bad)?;
        if all.is_empty() { Err(bad(PemError::NoItemsFound)) } else { Ok(all) }
    }

    fn unreadable(key: &str, path: &Path, what: &str, error: &PemError) -> String {
        let path = path.display();
        match error {
            PemError::Io(e) => format!("{key} = {path} cannot be read: {e}"),
            PemError::NoItemsFound => format!("{key} = {path} holds no {what} in PEM"),
            // What the file holds is not repeated: it may be a key.
            _ => format!("{key} = {path} is not PEM"),
        }
    }

    /// What is wrong between the two sides, and what to do; none if it is nothing of TLS. `host`: as the URL has it.
    pub fn fault(error: &(dyn Error + 'static), host: &str) -> Option<String> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(tls) = error.downcast_ref::<rustls::Error>() {
                return Some(explain(tls, host));
            }
            // What an I/O error was made of is not its source, but in it.
            if let Some(tls) = error.downcast_ref::<std::io::Error>().and_then(|e| e.get_ref()?.downcast_ref()) {
                return Some(explain(tls, host));
            }
            next = error.source();
        }
        None
    }

    fn explain(error: &rustls::Error, host: &str) -> String {
        use CertificateError as C;
        match error {
            rustls::Error::InvalidCertificate(C::UnknownIssuer | C::BadSignature) => {
                "the broker's certificate is of a CA that is not trusted here: mqtt.ca_file must hold the certificate \
                 of the CA that signed it"
                    .to_owned()
            }
            rustls::Error::InvalidCertificate(C::Expired | C::ExpiredContext { .. }) => {
                "the broker's certificate has expired: the broker needs a new one (or this machine's clock is wrong)"
                    .to_owned()
            }
            rustls::Error::InvalidCertificate(C::NotValidYet | C::NotValidYetContext { .. }) => {
                "the broker's certificate is not valid yet: is this machine's clock right?".to_owned()
            }
            rustls::Error::InvalidCertificate(C::NotValidForNameContext { presented, .. }) => {
                let names = presented.join(", ");
                format!("the broker's certificate is not for {host}, but for {names}: mqtt.url must have such a name")
            }
            rustls::Error::InvalidCertificate(C::NotValidForName) => {
                format!("the broker's certificate is not for {host}: mqtt.url must have a name that is in it")
            }
            rustls::Error::InvalidCertificate(other) => {
                format!("the broker's certificate is not accepted: {other}")
            }
            rustls::Error::AlertReceived(AlertDescription::CertificateRequired) => {
                "the broker wants a certificate of ours: mqtt.cert_file and mqtt.key_file".to_owned()
            }
            rustls::Error::AlertReceived(alert) => {
                format!("the broker ends TLS ({alert:?}): check mqtt.cert_file, and the CA that it takes ours from")
            }
            rustls::Error::InvalidMessage(_) => {
                "it does not speak TLS there: mqtts:// wants the broker's TLS port, 8883 as a rule".to_owned()
            }
            other => format!("TLS: {other}"),
        }
    }
}

#[cfg(not(feature = "tls"))]
mod without {
    /// None: without TLS nothing is wrong with it.
    pub fn fault(_: &(dyn std::error::Error + 'static), _: &str) -> Option<String> {
        None
    }
}
