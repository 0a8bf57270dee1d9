//! An Ethernet address as bundles write it: six hexadecimal bytes with colons.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The address of a guest's network card.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct MacAddress([u8; 6]);

/// The text is not the address of one network card.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MacError {
    /// It does not have the form `02:00:00:0a:cb:01`.
    #[error("expected six hexadecimal bytes with colons, as in `02:00:00:0a:cb:01`")]
    Form,
    /// It is a group address or all zeros, which no card may have.
    #[error("a group address or all zeros cannot belong to a card")]
    NotUnicast,
}

impl MacAddress {
    /// The six bytes in the order in which they are sent.
    #[must_use]
    pub fn octets(self) -> [u8; 6] {
        self.0
    }
}

impl FromStr for MacAddress {
    type Err = MacError;

    fn from_str(text: &str) -> Result<Self, MacError> {
        let mut octets = [0; 6];
        let mut parts = text.split(':');
        for octet in &mut octets {
            let part = parts.next().ok_or(MacError::Form)?;
            if part.len() != 2 || !part.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(MacError::Form);
            }
            *octet = u8::from_str_radix(part, 16).map_err(|_| MacError::Form)?;
        }
        if parts.next().is_some() {
            return Err(MacError::Form);
        }
        // IEEE 802-2014 §8.2.2: the lowest bit of the first byte marks a group address.
        if octets == [0; 6] || octets[0] & 1 == 1 {
            return Err(MacError::NotUnicast);
        }
        Ok(Self(octets))
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl From<MacAddress> for String {
    fn from(mac: MacAddress) -> Self {
        mac.to_string()
    }
}

impl TryFrom<String> for MacAddress {
    type Error = MacError;

    fn try_from(text: String) -> Result<Self, MacError> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_written_as_it_was_read() {
        let mac: MacAddress = "02:00:00:0A:cb:01".parse().unwrap();
        assert_eq!(mac.octets(), [2, 0, 0, 0x0a, 0xcb, 1]);
        assert_eq!(mac.to_string(), "02:00:00:0a:cb:01");
    }

    #[test]
    fn what_no_card_can_have_is_refused() {
        for text in [
            "",
            "02:00:00:0a:cb",
            "02:00:00:0a:cb:01:02",
            "02:0:00:0a:cb:01",
            "02:00:00:0a:cb:+1",
        ] {
            assert_eq!(text.parse::<MacAddress>(), Err(MacError::Form), "{text}");
        }
        for text in [
            "00:00:00:00:00:00",
            "ff:ff:ff:ff:ff:ff",
            "01:00:5e:00:00:01",
        ] {
            assert_eq!(
                text.parse::<MacAddress>(),
                Err(MacError::NotUnicast),
                "{text}"
            );
        }
    }
}
