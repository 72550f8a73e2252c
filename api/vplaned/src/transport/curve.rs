// SPDX-License-Identifier: Apache-2.0
//! CURVE certificates in the files that czmq writes.
//!
//! vplaned keeps its certificate and those of its dataplanes as czmq files, and administrators copy them about; so ours
//! are of the same form: the public part in the file named, both keys in the file with `_secret` after its name.

use std::fmt;
use std::path::{Path, PathBuf};

use weft_background::file::{self, FileError};

use crate::types::Uuid;

/// A key as ZeroMQ takes it.
const KEY_SIZE: usize = 32;

/// Bytes of a certificate's file.
const LONGEST: u64 = 64 << 10;

/// A public key.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey([u8; KEY_SIZE]);

/// A certificate of our own.
pub struct Keys {
    pub public: PublicKey,
    secret: [u8; KEY_SIZE],
}

/// A certificate that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    #[error(
        "the libzmq of this system has no CURVE: install one that has, or set the authentication method to none"
    )]
    NoCurve,
    #[error(transparent)]
    Read(#[from] FileError),
    #[error("cannot write {}: {source}", path.display())]
    Write { path: PathBuf, source: std::io::Error },
    #[error("{}: expected {key} = \"40 characters of Z85\", found {found}", path.display())]
    Key { path: PathBuf, key: &'static str, found: String },
    #[error("cannot make a key pair: {0}")]
    Make(zmq::Error),
}

/// Whether this system's libzmq can do what is asked of it.
pub fn require_curve() -> Result<(), CertificateError> {
    if zmq::has("curve") == Some(true) { Ok(()) } else { Err(CertificateError::NoCurve) }
}

impl PublicKey {
    /// The public key of a certificate file.
    pub fn read(path: &Path) -> Result<PublicKey, CertificateError> {
        Ok(PublicKey(key(path, &read(path)?, "public-key")?))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", zmq::z85_encode(&self.0).unwrap_or_default())
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("public", &self.public).finish_non_exhaustive()
    }
}

impl Keys {
    /// Reads our certificate, or makes one that bears our UUID.
    pub fn read_or_make(path: &Path, uuid: &Uuid) -> Result<Keys, CertificateError> {
        if let Some(keys) = Keys::read(path)? {
            return Ok(keys);
        }
        let secret = secret_path(path);
        let pair = zmq::CurveKeyPair::new().map_err(CertificateError::Make)?;
        let keys = Keys { public: PublicKey(pair.public_key), secret: pair.secret_key };
        write(path, 0o644, &keys.file(uuid, false)?)?;
        write(&secret, 0o600, &keys.file(uuid, true)?)?;
        Ok(keys)
    }

    /// Those of a certificate, if they have been made.
    pub fn read(path: &Path) -> Result<Option<Keys>, CertificateError> {
        let secret = secret_path(path);
        if !secret.exists() {
            return Ok(None);
        }
        let text = read(&secret)?;
        Ok(Some(Keys {
            public: PublicKey(key(&secret, &text, "public-key")?),
            secret: key(&secret, &text, "secret-key")?,
        }))
    }

    pub(super) fn secret(&self) -> &[u8] {
        &self.secret
    }

    fn file(&self, uuid: &Uuid, with_secret: bool) -> Result<String, CertificateError> {
        let z85 = |key: &[u8]| zmq::z85_encode(key).map_err(|_| CertificateError::Make(zmq::Error::EINVAL));
        let kind = if with_secret { "**Secret**" } else { "Public" };
        let mut text = format!(
            "#   ZeroMQ CURVE {kind} Certificate\n\nmetadata\n    uuid = \"{uuid}\"\ncurve\n    public-key = \"{}\"\n",
            z85(&self.public.0)?
        );
        if with_secret {
            text += &format!("    secret-key = \"{}\"\n", z85(&self.secret)?);
        }
        Ok(text)
    }
}

fn secret_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("_secret");
    name.into()
}

fn read(path: &Path) -> Result<String, CertificateError> {
    Ok(file::read_text(path, LONGEST)?)
}

fn write(path: &Path, mode: u32, text: &str) -> Result<(), CertificateError> {
    file::write(path, mode, text).map_err(|source| CertificateError::Write { path: path.to_owned(), source })
}

/// The key of this name. The format is indented `name = "value"` lines; no other name ends in `-key`.
fn key(path: &Path, text: &str, name: &'static str) -> Result<[u8; KEY_SIZE], CertificateError> {
    let mut values = text.lines().filter_map(|line| {
        let (found, value) = line.trim().split_once('=')?;
        (found.trim_end() == name).then(|| value.trim().trim_matches('"'))
    });
    let wrong =
        |found: &str| CertificateError::Key { path: path.to_owned(), key: name, found: found.to_owned() };
    let value = values.next().ok_or_else(|| wrong("nothing of this name"))?;
    // A wrong secret is not repeated in a log.
    let found = || wrong(&format!("{} characters that are not that", value.chars().count()));
    // The crate's decoder panics on what is not ASCII.
    if value.len() != 40 || !value.is_ascii() {
        return Err(found());
    }
    let bytes = zmq::z85_decode(value).map_err(|_| found())?;
    bytes.try_into().map_err(|_| found())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let path = std::env::temp_dir().join(format!("weft-curve-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).expect("a folder for the test");
            Folder(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_made_certificate_reads_back_and_is_not_made_twice() {
        let folder = Folder::new("made");
        let path = folder.0.join("dataplane.cert");
        let made = Keys::read_or_make(&path, &Uuid::local()).expect("made");
        let again = Keys::read_or_make(&path, &Uuid::local()).expect("read");
        assert_eq!(made.public, again.public);
        assert_eq!(made.secret, again.secret);
        assert_eq!(PublicKey::read(&path).expect("the public part"), made.public);
        let public = fs::read_to_string(&path).expect("written");
        assert!(!public.contains("secret-key"), "{public}");
        let mode = std::os::unix::fs::MetadataExt::mode(&fs::metadata(secret_path(&path)).expect("written"));
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_file_of_czmq_is_read() {
        // Key of the libzmq manual's example (zmq_curve_keypair(3) and zmq_setsockopt(3)).
        let folder = Folder::new("czmq");
        let path = folder.0.join("controller.cert");
        let text = "#   ****  Generated on 2021-10-11 by CZMQ  ****\n#   ZeroMQ CURVE Public Certificate\n\nmetadata\n    name = \"vplaned\"\ncurve\n    public-key = \"Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID\"\n";
        fs::write(&path, text).expect("written");
        let key = PublicKey::read(&path).expect("a certificate");
        assert_eq!(format!("{key:?}"), "PublicKey(Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID)");
    }

    #[test]
    fn a_bad_key_is_told_by_file_and_name_but_not_repeated() {
        let folder = Folder::new("bad");
        let path = folder.0.join("controller.cert");
        for bad in ["", "curve\n  public-key = \"short\"\n", &format!("public-key = \"{}\"", "é".repeat(20))]
        {
            fs::write(&path, bad).expect("written");
            let error = PublicKey::read(&path).expect_err(bad).to_string();
            assert!(error.contains("controller.cert: expected public-key"), "{error}");
            assert!(!error.contains("short"), "{error}");
        }
        assert!(matches!(PublicKey::read(&folder.0.join("none")), Err(CertificateError::Read(_))));
    }

    #[test]
    fn nothing_but_a_regular_file_is_read_or_written_and_nobody_is_waited_for() {
        let folder = Folder::new("kinds");
        let path = folder.0.join("dataplane.cert");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("a FIFO");
        let said = |error: CertificateError| error.to_string();
        let kind = "dataplane.cert: it is a FIFO, not a regular file";
        assert!(said(PublicKey::read(&path).expect_err("a FIFO")).ends_with(kind));
        assert!(said(Keys::read_or_make(&path, &Uuid::local()).expect_err("a FIFO")).ends_with(kind));
        let ini = crate::config::Ini::read(&path).expect_err("a FIFO").to_string();
        assert!(ini.ends_with(kind), "{ini}");
    }
}
