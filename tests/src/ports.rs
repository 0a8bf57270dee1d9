//! TCP ports of this machine: free ones for the tests, and whether one is in use.

use std::collections::HashSet;
use std::net::TcpListener;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, ensure};

/// Ports already given to a test of this process.
static GIVEN: Mutex<Option<HashSet<u16>>> = Mutex::new(None);

/// A TCP port of 127.0.0.1 that nobody listens at and that no other test of this process got.
///
/// # Errors
///
/// When the machine has none.
pub fn free() -> Result<u16> {
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    let given = given.get_or_insert_default();
    loop {
        let listener = TcpListener::bind("127.0.0.1:0").context("no free port")?;
        let port = listener
            .local_addr()
            .context("cannot tell a socket's port")?
            .port();
        if given.insert(port) {
            return Ok(port);
        }
    }
}

/// Fails if somebody still listens at `port` of 127.0.0.1.
///
/// # Errors
///
/// When the port cannot be bound.
pub fn ensure_free(port: u16) -> Result<()> {
    let bound = TcpListener::bind(("127.0.0.1", port));
    ensure!(bound.is_ok(), "port {port} is still taken");
    Ok(())
}
