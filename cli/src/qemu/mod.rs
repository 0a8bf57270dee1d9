//! QEMU's command line, translated into flags of `pcp-vmm run`.
//!
//! The translation is pure but for one question to the host: what a disk image without a format looks like. What is given
//! under a name (`-netdev`, `-chardev`, `-drive`, `-fsdev`, …) is read first, then the devices that use it; the order of QEMU's
//! options does not matter.

mod argv;
mod chardev;
mod consoles;
mod devices;
mod keys;
mod machine;
mod network;
mod options;
mod shares;
mod storage;
mod table;
#[cfg(test)]
mod tests;

use std::path::Path;

use self::argv::Given;
use self::consoles::Consoles;
use self::machine::Board;
use self::network::Network;
use self::options::{ALL, Fate};
use self::shares::Shares;
pub(crate) use self::storage::Image;
use self::storage::Storage;
use self::table::Table;
pub(crate) use self::table::{Refusal, Row};
use crate::nearest::nearest;

/// How a disk image is looked at.
pub(crate) type Look<'a> = &'a dyn Fn(&Path) -> Image;

/// What QEMU's command line comes to.
#[derive(Debug)]
pub(crate) struct Translation {
    /// What becomes of each option.
    pub(crate) rows: Vec<Row>,
    /// What cannot be had.
    pub(crate) refused: Vec<Refusal>,
    /// What is done otherwise than the options say, and the user is told at the start.
    pub(crate) warnings: Vec<String>,
}

impl Translation {
    /// The flags of `pcp-vmm run`.
    pub(crate) fn flags(&self) -> impl Iterator<Item = &str> {
        let flags = self.rows.iter().flat_map(|row| &row.flags);
        flags.map(String::as_str)
    }
}

/// Translates the words after the program's name.
pub(crate) fn translate(words: &[String], look: Look<'_>) -> Translation {
    let mut translator = Translator::default();
    let given = argv::parse(words);
    let rows: Vec<usize> = given
        .iter()
        .map(|it| translator.table.add(it.text()))
        .collect();
    for take in [Translator::board, Translator::define, Translator::option] {
        for (given, row) in given.iter().zip(&rows) {
            if let Err(why) = take(&mut translator, *row, given, look) {
                translator.table.refuse(*row, why);
            }
        }
    }
    translator.finish();
    let Table { rows, refused } = translator.table;
    Translation {
        rows,
        refused,
        warnings: translator.warnings,
    }
}

/// The translation as it grows. Each method that translates an option says why if it cannot.
#[derive(Debug, Default)]
struct Translator {
    table: Table,
    warnings: Vec<String>,
    board: Board,
    consoles: Consoles,
    network: Network,
    storage: Storage,
    shares: Shares,
}

impl Translator {
    /// Reads which board it is: what an option means depends on that.
    fn board(&mut self, row: usize, given: &Given, _: Look<'_>) -> Result<(), String> {
        match (given.name.as_str(), &given.value) {
            ("M" | "machine", Some(value)) => self.machine(row, value),
            _ => Ok(()),
        }
    }

    /// Reads what others refer to by its name.
    fn define(&mut self, row: usize, given: &Given, look: Look<'_>) -> Result<(), String> {
        let Some(value) = &given.value else {
            return Ok(());
        };
        match given.name.as_str() {
            "chardev" => self.chardev(row, value),
            "netdev" => self.netdev(row, value),
            "drive" => self.drive(row, value, look),
            "blockdev" => self.blockdev(row, value),
            "fsdev" => self.fsdev(row, value),
            _ => Ok(()),
        }
    }

    /// Translates an option.
    fn option(&mut self, row: usize, given: &Given, _: Look<'_>) -> Result<(), String> {
        if given.name.is_empty() {
            return Err("a disk image is given by `-drive file=…,if=virtio`".to_owned());
        }
        let Some(known) = given.known() else {
            let names = ALL.iter().map(|known| known.name);
            let meant = nearest(&given.name, names);
            let meant = meant.map_or(String::new(), |name| format!(" (is `-{name}` meant?)"));
            return Err(format!("it is not known{meant}"));
        };
        match known.fate {
            Fate::Ignored(why) => self.table.note(row, format!("nothing: {why}")),
            Fate::Refused(why) => return Err(why.to_owned()),
            Fate::Taken => {
                let value = match (&given.value, known.has_value) {
                    (Some(value), _) => value.as_str(),
                    (None, false) => "",
                    (None, true) => return Err("its value is missing".to_owned()),
                };
                return self.taken(row, known.name, value);
            }
        }
        Ok(())
    }

    fn taken(&mut self, row: usize, name: &str, value: &str) -> Result<(), String> {
        match name {
            // They are read already.
            "M" | "machine" | "chardev" | "netdev" | "drive" | "blockdev" | "fsdev" => Ok(()),
            "device" => self.device(row, value),
            "serial" => self.serial(row, value),
            "monitor" | "qmp" | "qmp-pretty" => self.monitor(row, name, value),
            "mon" => self.mon(row, value),
            "net" => self.net(row, value),
            "nic" => self.nic(row, value),
            "virtfs" => self.virtfs(row, value),
            _ => self.board_option(row, name, value),
        }
    }

    /// Says what follows from all options together, and from those that are absent.
    fn finish(&mut self) {
        self.finish_board();
        self.finish_consoles();
        self.finish_network();
        self.finish_storage();
        self.finish_shares();
    }
}
