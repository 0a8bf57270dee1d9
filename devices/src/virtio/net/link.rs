//! The state of a card's link, as the driver is told: up where the back end has a link and nobody
//! took it down from outside.

use std::sync::{Arc, Mutex};

use super::config::NetConfig;
use crate::lock;
use crate::virtio::device::Interrupt;

/// What the device and others share.
#[derive(Debug)]
pub(super) struct Link {
    config: Arc<NetConfig>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// What was asked for from outside.
    wanted: bool,
    /// What the back end says.
    carrier: bool,
    /// The way to a driver that reads the state.
    driver: Option<Arc<dyn Interrupt>>,
}

impl Link {
    pub(super) fn new(config: Arc<NetConfig>) -> Self {
        Self {
            config,
            state: Mutex::new(State {
                wanted: true,
                carrier: true,
                driver: None,
            }),
        }
    }

    /// A driver that reads the state came, or went.
    pub(super) fn set_driver(&self, driver: Option<Arc<dyn Interrupt>>) {
        lock(&self.state).driver = driver;
    }

    /// The back end's link changed.
    pub(super) fn set_carrier(&self, carrier: bool) {
        self.change(|state| state.carrier = carrier);
    }

    /// Tells the driver if the change is one for it.
    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = lock(&self.state);
        change(&mut state);
        let up = state.wanted && state.carrier;
        if self.config.set_link(up)
            && let Some(driver) = &state.driver
        {
            log::info!("network link is {}", if up { "up" } else { "down" });
            driver.config();
        }
    }
}

/// The way to a card's link from outside its event loop.
#[derive(Debug, Clone)]
pub struct LinkHandle(pub(super) Arc<Link>);

impl LinkHandle {
    /// Takes the link down, or leaves its state to the back end again. The driver is told at once, and
    /// sends nothing over a link that is down.
    pub fn set(&self, up: bool) {
        self.0.change(|state| state.wanted = up);
    }

    /// Whether the driver is told that the link is up.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.0.config.link()
    }
}
