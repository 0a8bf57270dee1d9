//! What tells a machine apart and what it is told in confidence: its UUID and its credentials.

use std::fmt;
use std::fs;
use std::io::{self, Read};
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::value::ValueError;

/// The longest name of a credential: that of a file.
const MAX_NAME: usize = 255;
/// The most that a credential may hold (systemd, `CREDENTIAL_SIZE_MAX`).
pub const MAX_CREDENTIAL: u64 = 1 << 20;
/// The longest name of a credential that can be a file of the firmware configuration device.
pub const MAX_FILE_CREDENTIAL_NAME: usize = 28;

/// A UUID (RFC 9562), as in `--uuid`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Uuid(pub [u8; 16]);

impl FromStr for Uuid {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let parts = text.split('-').map(str::len);
        let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b'-').collect();
        let mut bytes = [0; 16];
        let good = parts.eq([8, 4, 4, 4, 12])
            && digits.chunks(2).zip(&mut bytes).all(|(pair, byte)| {
                let pair = std::str::from_utf8(pair).unwrap_or_default();
                let digits = pair.bytes().all(|digit| digit.is_ascii_hexdigit());
                let value = u8::from_str_radix(pair, 16).ok().filter(|_| digits);
                *byte = value.unwrap_or_default();
                value.is_some()
            });
        let form = "a UUID, as 6f7a1c52-5d0b-4d3c-9a53-0d6c1f2e8b47";
        good.then_some(Self(bytes)).ok_or(ValueError::Form {
            text: text.to_owned(),
            form,
        })
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            if [4, 6, 8, 10].contains(&index) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

/// A credential for the guest's service manager: `NAME=VALUE` or `NAME=@FILE`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Credential {
    /// Its name.
    pub name: String,
    /// Where its value is.
    pub source: CredentialSource,
}

/// Where a credential's value is.
#[derive(Clone, PartialEq, Eq)]
pub enum CredentialSource {
    /// Here.
    Text(String),
    /// In a file, whole.
    File(PathBuf),
}

/// Why a credential cannot be given to the guest.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// Its file cannot be read.
    #[error("cannot read credential `{name}`")]
    Read {
        /// Its name.
        name: String,
        /// What the system says.
        source: io::Error,
    },
    /// There is more than [`MAX_CREDENTIAL`].
    #[error("credential `{name}` is larger than 1 MiB")]
    TooLarge {
        /// Its name.
        name: String,
    },
    /// The one way that it has is full.
    #[error(
        "credential `{name}` has no room: names of more than {MAX_FILE_CREDENTIAL_NAME} characters share 55 KiB"
    )]
    NoRoom {
        /// Its name.
        name: String,
    },
}

impl Credential {
    /// The value.
    ///
    /// # Errors
    /// The file cannot be read, or is larger than [`MAX_CREDENTIAL`].
    pub fn value(&self) -> Result<Vec<u8>, CredentialError> {
        let path = match &self.source {
            CredentialSource::Text(text) => return Ok(text.clone().into_bytes()),
            CredentialSource::File(path) => path,
        };
        let mut value = Vec::new();
        // A file may grow after its length was asked, and some tell none.
        fs::File::open(path)
            .and_then(|file| file.take(MAX_CREDENTIAL + 1).read_to_end(&mut value))
            .map_err(|source| CredentialError::Read {
                name: self.name.clone(),
                source,
            })?;
        if value.len() as u64 > MAX_CREDENTIAL {
            let name = self.name.clone();
            return Err(CredentialError::TooLarge { name });
        }
        Ok(value)
    }

    /// What a string of the machine's maker (SMBIOS type 11) says of it, in the form that systemd
    /// looks for (systemd.system-credentials(7)).
    #[must_use]
    pub fn smbios_string(&self, value: &[u8]) -> Vec<u8> {
        let plain = std::str::from_utf8(value).is_ok_and(|text| !text.contains(char::is_control));
        let (kind, value) = if plain && !value.is_empty() {
            ("io.systemd.credential", value.to_vec())
        } else {
            ("io.systemd.credential.binary", base64(value))
        };
        let mut string = format!("{kind}:{}=", self.name).into_bytes();
        string.extend(value);
        string
    }
}

impl FromStr for Credential {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        // A value is not repeated: it may be a secret.
        let fault = |text: &str, form| ValueError::Form {
            text: text.to_owned(),
            form,
        };
        let whole = "a credential: NAME=VALUE or NAME=@FILE";
        let (name, value) = text.split_once('=').ok_or_else(|| fault(text, whole))?;
        let is_letter = |byte: u8| byte.is_ascii_graphic() && !b"/:".contains(&byte);
        let is_name = !["", ".", ".."].contains(&name) && name.len() <= MAX_NAME;
        if !is_name || !name.bytes().all(is_letter) {
            let form =
                "a credential's name: up to 255 letters, digits and marks, without `/` and `:`";
            return Err(fault(name, form));
        }
        let source = match value.strip_prefix('@') {
            Some("") => return Err(fault(text, whole)),
            Some(path) => CredentialSource::File(path.into()),
            None => CredentialSource::Text(value.to_owned()),
        };
        Ok(Self {
            name: name.to_owned(),
            source,
        })
    }
}

/// The value is kept out of logs and messages.
impl fmt::Debug for CredentialSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(_) => f.write_str("Text(…)"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
        }
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credential({self})")
    }
}

impl fmt::Display for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            CredentialSource::Text(_) => write!(f, "{}=…", self.name),
            CredentialSource::File(path) => write!(f, "{}=@{}", self.name, path.display()),
        }
    }
}

impl TryFrom<String> for Credential {
    type Error = ValueError;

    fn try_from(text: String) -> Result<Self, ValueError> {
        text.parse()
    }
}

/// As it is shown: without its value.
impl From<Credential> for String {
    fn from(credential: Credential) -> Self {
        credential.to_string()
    }
}

impl TryFrom<String> for Uuid {
    type Error = ValueError;

    fn try_from(text: String) -> Result<Self, ValueError> {
        text.parse()
    }
}

impl From<Uuid> for String {
    fn from(uuid: Uuid) -> Self {
        uuid.to_string()
    }
}

/// Base64 with padding (RFC 4648 §4).
fn base64(bytes: &[u8]) -> Vec<u8> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = Vec::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for (at, shift) in [18, 12, 6, 0].into_iter().enumerate() {
            let digit = DIGITS.get((bits >> shift & 63) as usize);
            let digit = digit.filter(|_| at <= chunk.len());
            text.push(digit.copied().unwrap_or(b'='));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_is_read_back_as_it_is_written() {
        let text = "a77a03d9-0001-4f00-8000-00000000000f";
        let uuid: Uuid = text.parse().unwrap();
        assert_eq!(uuid.0[..4], [0xa7, 0x7a, 0x03, 0xd9]);
        assert_eq!(uuid.to_string(), text);
        for text in [
            "",
            "a77a03d9",
            "a77a03d900014f00800000000000000f",
            "a77a03d9-0001-4f00-8000-00000000000",
            "g77a03d9-0001-4f00-8000-00000000000f",
            "+77a03d9-0001-4f00-8000-00000000000f",
        ] {
            assert!(text.parse::<Uuid>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_credential_is_text_or_a_file() {
        let credential: Credential = "a.b=1=2".parse().unwrap();
        assert_eq!(credential.name, "a.b");
        assert_eq!(credential.value().unwrap(), b"1=2");
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(&file, [0, 255]).unwrap();
        let text = format!("key=@{}", file.path().display());
        let credential: Credential = text.parse().unwrap();
        assert_eq!(credential.value().unwrap(), [0, 255]);
        for text in [
            "", "name", "=value", "a/b=c", "..=x", "a b=c", "a=@", "a:b=c",
        ] {
            assert!(text.parse::<Credential>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_value_is_shown_nowhere() {
        let credential: Credential = "password=secret".parse().unwrap();
        assert!(!format!("{credential:?} {credential}").contains("secret"));
        assert!(
            !serde_json::to_string(&credential)
                .unwrap()
                .contains("secret")
        );
        let error = "pass word=secret".parse::<Credential>().unwrap_err();
        assert!(!error.to_string().contains("secret"));
    }

    #[test]
    fn a_name_that_no_service_manager_takes_is_refused_as_such() {
        let long = "n".repeat(256);
        for name in ["", ".", "..", "a/b", "a:b", "a b", "ä", "a\n", &long] {
            let error = format!("{name}=x").parse::<Credential>().unwrap_err();
            assert!(error.to_string().contains("credential's name"), "{error}");
        }
        assert!(format!("{}=x", &long[1..]).parse::<Credential>().is_ok());
    }

    #[test]
    fn a_file_without_end_is_read_no_further_than_the_most() {
        let credential: Credential = "n=@/dev/zero".parse().unwrap();
        let error = credential.value().unwrap_err();
        assert!(matches!(error, CredentialError::TooLarge { .. }), "{error}");
        let credential: Credential = "n=@/nowhere/n".parse().unwrap();
        let error = credential.value().unwrap_err();
        assert_eq!(error.to_string(), "cannot read credential `n`");
    }

    #[test]
    fn what_is_not_plain_text_travels_in_base64() {
        let credential: Credential = "n=x".parse().unwrap();
        let string = |value: &[u8]| String::from_utf8(credential.smbios_string(value)).unwrap();
        assert_eq!(string(b"pl\xc3\xa4in"), "io.systemd.credential:n=pläin");
        assert_eq!(string(b"a\nb"), "io.systemd.credential.binary:n=YQpi");
        assert_eq!(string(b"\0"), "io.systemd.credential.binary:n=AA==");
        assert_eq!(string(b"\xff\xfe"), "io.systemd.credential.binary:n=//4=");
    }
}
