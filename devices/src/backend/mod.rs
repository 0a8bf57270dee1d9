//! Back ends: what connects a device to the host.

pub mod block;
pub mod console;
pub mod fs;
pub mod net;
pub mod port_owner;
pub mod unix_socket;
pub mod vhost_user;
