//! Serial ports, virtio consoles and monitors.

use super::Translator;
use super::chardev::Place;
use super::keys::Keys;

/// The character devices, and who uses them.
#[derive(Debug, Default)]
pub(super) struct Consoles {
    chardevs: Vec<Chardev>,
    serials: u32,
    virtio: bool,
}

/// `-chardev`.
#[derive(Debug)]
struct Chardev {
    id: String,
    place: Place,
    row: usize,
    used: bool,
}

impl Translator {
    /// `-chardev`.
    pub(super) fn chardev(&mut self, row: usize, value: &str) -> Result<(), String> {
        let (id, place) = Place::of_chardev(value)?;
        if self.consoles.chardevs.iter().any(|known| known.id == id) {
            return Err(format!("there is a character device `{id}` already"));
        }
        self.consoles.chardevs.push(Chardev {
            id,
            place,
            row,
            used: false,
        });
        Ok(())
    }

    /// The place of a character device.
    pub(super) fn place_of(&mut self, id: &str, user: &str) -> Result<Place, String> {
        let mut all = self.consoles.chardevs.iter_mut();
        let found = all.find(|known| known.id == id);
        let found = found.ok_or_else(|| format!("there is no character device `{id}`"))?;
        found.used = true;
        let (row, place) = (found.row, found.place.clone());
        self.table.note(row, format!("where {user} leads"));
        Ok(place)
    }

    /// `-serial`.
    pub(super) fn serial(&mut self, row: usize, value: &str) -> Result<(), String> {
        let place = match Place::of_short(value)? {
            Place::Named(id) => self.place_of(&id, "the serial port")?,
            place => place,
        };
        if value.starts_with("mon:") {
            self.table.note(row, "without QEMU's monitor behind Ctrl-A");
        }
        self.serial_at(row, &place)
    }

    /// Leads the next serial port to a place.
    pub(super) fn serial_at(&mut self, row: usize, place: &Place) -> Result<(), String> {
        self.consoles.serials += 1;
        match (self.consoles.serials, place) {
            (1, place) => {
                let place = place.console()?;
                self.table
                    .flag(row, "--console", &format!("serial={place}"));
                self.table.note(row, "the serial port, ttyS0");
                Ok(())
            }
            (_, Place::Null) => self.nothing(row, "there is one serial port"),
            _ => Err("there is one serial port".to_owned()),
        }
    }

    /// `-device virtconsole`.
    pub(super) fn virtconsole(&mut self, row: usize, keys: &mut Keys) -> Result<(), String> {
        let id = keys.take("chardev").ok_or("it has no `chardev`")?;
        let place = self.place_of(&id, "the virtio console")?;
        if std::mem::replace(&mut self.consoles.virtio, true) {
            return Err("there is one virtio console".to_owned());
        }
        let place = place.console()?;
        self.table
            .flag(row, "--console", &format!("virtio={place}"));
        self.table.note(row, "the virtio console, hvc0");
        keys.drop_all(&["name", "nr"]);
        Ok(())
    }

    /// `-monitor`, `-qmp` and `-qmp-pretty`.
    pub(super) fn monitor(&mut self, row: usize, name: &str, value: &str) -> Result<(), String> {
        let language = if name == "monitor" { "hmp" } else { "qmp" };
        let place = match Place::of_short(value)? {
            Place::Named(id) => self.place_of(&id, "the monitor")?,
            place => place,
        };
        self.monitor_at(row, language, place)
    }

    /// `-mon`.
    pub(super) fn mon(&mut self, row: usize, value: &str) -> Result<(), String> {
        let mut keys = Keys::parse(value, "chardev")?;
        let id = keys.take("chardev").ok_or("it has no `chardev`")?;
        let language = match keys.take("mode").as_deref() {
            None | Some("readline") => "hmp",
            Some("control") => "qmp",
            Some(other) => return Err(format!("`mode={other}` is neither readline nor control")),
        };
        keys.drop_all(&["pretty", "id"]);
        keys.end()?;
        let place = self.place_of(&id, "the monitor")?;
        self.monitor_at(row, language, place)
    }

    fn monitor_at(&mut self, row: usize, language: &str, place: Place) -> Result<(), String> {
        match place {
            Place::Null => self.nothing(row, "there is no monitor unless one is asked for"),
            Place::Unix { path, listens } => {
                let path = path.replace(',', ",,");
                let connects = if listens { "" } else { ",connect" };
                self.table
                    .flag(row, "--monitor", &format!("{language}={path}{connects}"));
                self.table.note(row, "a monitor");
                Ok(())
            }
            _ => Err("a monitor is at a Unix socket (`unix:PATH,server,nowait`)".to_owned()),
        }
    }

    /// Says where the serial port leads by default, and what nobody uses.
    pub(super) fn finish_consoles(&mut self) {
        if self.consoles.serials == 0 {
            let row = self.table.add("(no -serial)");
            let terminal = self.board.no_graphic && !self.board.no_defaults;
            let (place, effect) = if terminal {
                (
                    "serial=stdio",
                    "the serial port on this terminal, by -nographic",
                )
            } else {
                ("serial=none", "the serial port leads nowhere")
            };
            self.table.flag(row, "--console", place);
            self.table.note(row, effect);
        }
        let unused = self.consoles.chardevs.iter().filter(|known| !known.used);
        for row in unused.map(|known| known.row) {
            self.table.note(row, "nothing: no device uses it");
        }
    }
}
