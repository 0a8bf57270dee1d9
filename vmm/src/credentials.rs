//! By which way each credential reaches the guest's service manager: as a string of the SMBIOS
//! tables, as a file of the firmware configuration device, or both (systemd.system-credentials(7)).
//!
//! SMBIOS has little room, but needs no driver. Linux reads a file page by page, each from the
//! file's start and byte by byte, which takes an access of the device for every byte that it skips:
//! only what is small, or fits nowhere else, is a file.

use devices::legacy::fw_cfg::{self, FwCfgFile};

use crate::config::{Credential, CredentialError, MAX_FILE_CREDENTIAL_NAME};
use crate::smbios::SmbiosTables;

/// The folder of credentials among the device's files.
const FOLDER: &str = "opt/io.systemd.credentials/";
/// The largest value that is a file though SMBIOS has it too: Linux reads so much at once.
const SMALL: usize = 4096;

// A name that has room is one that the device takes.
const _: () = assert!(FOLDER.len() + MAX_FILE_CREDENTIAL_NAME == fw_cfg::MAX_NAME);

/// Credentials, ready to be handed to the guest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Handout {
    /// Strings for the SMBIOS tables.
    pub(crate) strings: Vec<Vec<u8>>,
    /// Files for the firmware configuration device.
    pub(crate) files: Vec<FwCfgFile>,
}

impl Handout {
    /// Reads `credentials` and gives each its way.
    ///
    /// # Errors
    /// One cannot be read or is too large, or there is no way for it.
    pub(crate) fn new(credentials: &[Credential]) -> Result<Self, CredentialError> {
        let mut this = Self::default();
        let mut room = SmbiosTables::STRING_ROOM;
        let is_file = |credential: &&Credential| credential.name.len() <= MAX_FILE_CREDENTIAL_NAME;
        let (files, strings): (Vec<_>, Vec<_>) = credentials.iter().partition(is_file);
        // First those that have one way alone.
        for credential in strings {
            let value = credential.value()?;
            if !this.add_string(credential.smbios_string(&value), &mut room) {
                let name = credential.name.clone();
                return Err(CredentialError::NoRoom { name });
            }
        }
        for credential in files {
            let content = credential.value()?;
            let placed = this.add_string(credential.smbios_string(&content), &mut room);
            if content.len() <= SMALL || !placed {
                let name = format!("{FOLDER}{}", credential.name);
                this.files.push(FwCfgFile { name, content });
            }
        }
        Ok(this)
    }

    /// Takes a string for the tables if there is `room`.
    fn add_string(&mut self, string: Vec<u8>, room: &mut usize) -> bool {
        let Some(left) = room.checked_sub(SmbiosTables::string_len(&string)) else {
            return false;
        };
        *room = left;
        self.strings.push(string);
        true
    }
}

#[cfg(test)]
mod tests {
    use devices::GuestRam;
    use devices::legacy::fw_cfg::FwCfg;
    use vm_memory::GuestAddress;

    use super::*;

    fn of_size(name: &str, size: usize) -> Credential {
        format!("{name}={}", "x".repeat(size)).parse().unwrap()
    }

    /// What of the handout is a string and what a file, by name.
    fn ways(credentials: &[Credential]) -> (Vec<String>, Vec<String>) {
        let handout = Handout::new(credentials).unwrap();
        let strings = handout.strings.iter().map(|string| {
            let text = String::from_utf8(string.clone()).unwrap();
            let text = text.strip_prefix("io.systemd.credential:").unwrap();
            text.split('=').next().unwrap().to_owned()
        });
        let files = handout.files.iter().map(|file| {
            let name = file.name.strip_prefix(FOLDER).unwrap();
            name.to_owned()
        });
        (strings.collect(), files.collect())
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_small_credential_goes_both_ways_and_a_larger_one_by_smbios() {
        let all = [of_size("small", 4096), of_size("larger", 4097)];
        assert_eq!(ways(&all), (names(&["small", "larger"]), names(&["small"])));
        assert_eq!(Handout::new(&[]).unwrap(), Handout::default());
    }

    #[test]
    fn what_smbios_has_no_room_for_is_a_file() {
        let all = [
            of_size("a", 30_000),
            of_size("b", 30_000),
            of_size("c", 20_000),
            of_size("most", 1 << 20),
        ];
        assert_eq!(ways(&all), (names(&["a", "c"]), names(&["b", "most"])));
    }

    #[test]
    fn a_name_that_is_too_long_for_a_file_has_smbios_first() {
        let longest_file = "n".repeat(28);
        let long = "n".repeat(29);
        let all = [of_size(&longest_file, 50_000), of_size(&long, 50_000)];
        assert_eq!(ways(&all), (vec![long.clone()], vec![longest_file]));
        let error = Handout::new(&[of_size(&long, 60_000)]).unwrap_err();
        assert!(matches!(error, CredentialError::NoRoom { .. }), "{error}");
    }

    #[test]
    fn what_is_handed_out_fits_its_place() {
        let ram = GuestRam::from_ranges(&[(GuestAddress(0), 1 << 20)]).unwrap();
        // Many strings, up to the last one that has room.
        let many: Vec<_> = (0..4000).map(|n| of_size(&format!("n{n}"), 1)).collect();
        let one: Vec<_> = vec![of_size("a", 57_000), of_size("b", 100_000)];
        for all in [many, one] {
            let handout = Handout::new(&all).unwrap();
            let tables = SmbiosTables::build(Some([7; 16]), &handout.strings);
            tables.write(&ram).unwrap();
            assert!(handout.strings.len() < all.len(), "not full");
            FwCfg::new(handout.files).unwrap();
        }
    }
}
