//! A console with a client that types and reads.

use devices::backend::console::{Console, ConsoleHandle, ConsolePump, ConsoleSpec};
use devices::virtio::console::VirtioConsole;
use devices::virtio::testing::Driver;

use super::Subject;
use crate::input::Input;

/// A console and who types on it.
#[derive(Debug, Default)]
pub struct Terminal {
    handle: Option<ConsoleHandle>,
    pump: Option<ConsolePump>,
}

impl Subject for Terminal {
    type Device = VirtioConsole;

    fn device(&mut self, choice: u8) -> VirtioConsole {
        let (handle, pump) = Console::open("hvc0", &ConsoleSpec::None).expect("a console");
        let device = VirtioConsole::new(handle.clone()).expect("an eventfd");
        self.handle = Some(handle);
        self.pump = Some(pump);
        if choice & 1 == 0 {
            device
        } else {
            device.with_size(choice.into(), 25)
        }
    }

    fn act(&mut self, _driver: &mut Driver<VirtioConsole>, input: &mut Input<'_>) {
        if let Some(handle) = &self.handle {
            handle.put_input(input.string());
        }
    }

    fn is_success(&self, _queue: u16, _answer: &[u8]) -> bool {
        true
    }
}
