//! A certificate with its key, and what listeners get of it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

/// The files of a certificate, both in PEM form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PemFiles {
    /// The chain: the server's own certificate first, then those that vouch for it.
    pub certificate: PathBuf,
    /// The private key: PKCS #8, PKCS #1, or SEC 1.
    pub key: PathBuf,
}

/// Why a certificate cannot be used. No variant holds any of the key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {}: {reason}", path.display())]
    Unreadable {
        /// Which one.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// The file of the chain holds none.
    #[error("{} holds no certificate in PEM form", .0.display())]
    NoCertificate(PathBuf),
    /// The file of the key holds none.
    #[error("{} holds no private key in PEM form", .0.display())]
    NoKey(PathBuf),
    /// The two do not belong together, or are of a kind that is not supported.
    #[error("the key in {} does not fit the certificate in {}: {reason}", .files.key.display(), .files.certificate.display())]
    Unfit {
        /// Both files.
        files: PemFiles,
        /// What is wrong with them.
        reason: String,
    },
}

/// What a look at the files found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewal {
    /// What is in use.
    Unchanged,
    /// Something else, which is in use now.
    Renewed,
}

/// A certificate in use. Clones share it, and see each renewal.
#[derive(Clone)]
pub struct Certificate {
    files: PemFiles,
    current: Arc<Current>,
}

/// The pair that handshakes use from now on; those under way end with the one they began with.
struct Current(ArcSwap<Pair>);

struct Pair {
    key: Arc<CertifiedKey>,
    /// Tells this pair's files from others without keeping their text.
    fingerprint: [u8; 32],
}

impl Certificate {
    /// Reads the files.
    ///
    /// Errors: [`TlsError`], whose text names the file.
    pub async fn load(files: PemFiles) -> Result<Self, TlsError> {
        let pair = Contents::read(&files).await?.into_pair(&files)?;
        let current = Arc::new(Current(ArcSwap::from_pointee(pair)));
        Ok(Self { files, current })
    }

    /// Reads the files again, and uses what they hold if it is something else and a whole pair.
    ///
    /// Errors: [`TlsError`]; what was in use stays in use.
    pub async fn renew(&self) -> Result<Renewal, TlsError> {
        let contents = Contents::read(&self.files).await?;
        if contents.fingerprint() == self.current.0.load().fingerprint {
            return Ok(Renewal::Unchanged);
        }
        let pair = contents.into_pair(&self.files)?;
        self.current.0.store(Arc::new(pair));
        Ok(Renewal::Renewed)
    }

    /// Returns the configuration of a listener: TLS 1.2 and 1.3, this certificate, and these protocols in the order of
    /// preference (ALPN). It follows renewals.
    pub fn server_config(&self, protocols: &[&str]) -> Arc<ServerConfig> {
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("ring knows TLS 1.2 and 1.3")
            .with_no_client_auth()
            .with_cert_resolver(self.current.clone());
        config.alpn_protocols = protocols
            .iter()
            .map(|name| name.as_bytes().into())
            .collect();
        Arc::new(config)
    }

    /// Returns where it comes from.
    pub fn files(&self) -> &PemFiles {
        &self.files
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Certificate").field(&self.files).finish()
    }
}

impl fmt::Debug for Current {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Current(…)")
    }
}

impl ResolvesServerCert for Current {
    /// There is one certificate, whatever name the client asks for: which names it covers is the client's affair.
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load().key.clone())
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// The text of both files. The key's is wiped when it is dropped.
struct Contents {
    certificate: Vec<u8>,
    key: Zeroizing<Vec<u8>>,
}

impl Contents {
    async fn read(files: &PemFiles) -> Result<Self, TlsError> {
        Ok(Self {
            certificate: read(&files.certificate).await?,
            key: Zeroizing::new(read(&files.key).await?),
        })
    }

    fn fingerprint(&self) -> [u8; 32] {
        let mut sha256 = Sha256::new();
        for text in [&self.certificate, &*self.key] {
            sha256.update((text.len() as u64).to_le_bytes());
            sha256.update(text);
        }
        sha256.finalize().into()
    }

    fn into_pair(self, files: &PemFiles) -> Result<Pair, TlsError> {
        let fingerprint = self.fingerprint();
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&self.certificate)
            .collect::<Result<_, _>>()
            .ok()
            .filter(|chain: &Vec<_>| !chain.is_empty())
            .ok_or_else(|| TlsError::NoCertificate(files.certificate.clone()))?;
        let key = PrivateKeyDer::from_pem_slice(&self.key)
            .map_err(|_| TlsError::NoKey(files.key.clone()))?;
        let key = CertifiedKey::from_der(chain, key, &provider()).map_err(|error| {
            let (files, reason) = (files.clone(), error.to_string());
            TlsError::Unfit { files, reason }
        })?;
        let key = Arc::new(key);
        Ok(Pair { key, fingerprint })
    }
}

async fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    tokio::fs::read(path).await.map_err(|error| {
        let (path, reason) = (path.to_owned(), error.to_string());
        TlsError::Unreadable { path, reason }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files in a directory of their own, with the pair that was made for them.
    struct Place {
        dir: tempfile::TempDir,
    }

    impl Place {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let place = Self { dir };
            place.put(&pair());
            place
        }

        fn files(&self) -> PemFiles {
            PemFiles {
                certificate: self.dir.path().join("tls.crt"),
                key: self.dir.path().join("tls.key"),
            }
        }

        fn put(&self, (certificate, key): &(String, String)) {
            std::fs::write(self.files().certificate, certificate).unwrap();
            std::fs::write(self.files().key, key).unwrap();
        }
    }

    fn pair() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    fn in_use(certificate: &Certificate) -> Vec<u8> {
        certificate.current.0.load().key.cert[0].to_vec()
    }

    #[tokio::test]
    async fn a_new_pair_is_used_as_soon_as_the_files_hold_it() {
        let place = Place::new();
        let certificate = Certificate::load(place.files()).await.unwrap();
        let first = in_use(&certificate);
        assert_eq!(certificate.renew().await, Ok(Renewal::Unchanged));
        place.put(&pair());
        assert_eq!(certificate.renew().await, Ok(Renewal::Renewed));
        assert_ne!(in_use(&certificate), first);
        assert_eq!(certificate.renew().await, Ok(Renewal::Unchanged));
    }

    #[tokio::test]
    async fn a_broken_pair_leaves_the_old_one_in_use() {
        let place = Place::new();
        let files = place.files();
        let certificate = Certificate::load(files.clone()).await.unwrap();
        let first = in_use(&certificate);
        let (other_certificate, other_key) = pair();
        // As a reader sees it between two writes.
        std::fs::write(&files.certificate, &other_certificate).unwrap();
        let torn = certificate.renew().await.unwrap_err();
        assert!(matches!(torn, TlsError::Unfit { .. }), "{torn}");
        for (text, expected) in [
            ("", TlsError::NoKey(files.key.clone())),
            (&other_certificate, TlsError::NoKey(files.key.clone())),
        ] {
            std::fs::write(&files.key, text).unwrap();
            assert_eq!(certificate.renew().await, Err(expected));
        }
        std::fs::remove_file(&files.certificate).unwrap();
        let gone = certificate.renew().await.unwrap_err();
        assert!(matches!(gone, TlsError::Unreadable { .. }), "{gone}");
        assert_eq!(in_use(&certificate), first);
        place.put(&(other_certificate, other_key));
        assert_eq!(certificate.renew().await, Ok(Renewal::Renewed));
    }

    #[tokio::test]
    async fn a_file_without_a_certificate_is_named() {
        let place = Place::new();
        let files = place.files();
        std::fs::copy(&files.key, &files.certificate).unwrap();
        let error = Certificate::load(files.clone()).await.unwrap_err();
        assert_eq!(error, TlsError::NoCertificate(files.certificate));
    }

    #[tokio::test]
    async fn debug_shows_where_it_lies_and_nothing_of_it() {
        let place = Place::new();
        let certificate = Certificate::load(place.files()).await.unwrap();
        let text = format!("{certificate:?} {:?}", certificate.current);
        assert!(text.contains("tls.key") && text.len() < 400, "{text}");
    }
}
