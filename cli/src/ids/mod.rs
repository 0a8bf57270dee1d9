//! Identifiers of VMs: ports, console ports, context identifiers, MAC addresses, addresses and users, from pools of which
//! each VM has one and keeps it.
//!
//! What is given to whom is plain data ([`Assignments`]); the state folder keeps it, under a lock ([`Store`]). Other state
//! folders of the machine know nothing of it, so what a VM uses is claimed for as long as its process lives ([`Claims`]).
//! PCP's documented VMs have identifiers of old ([`documented`]), which no pool holds.

mod assignments;
mod claims;
mod documented;
mod export;
mod pool;
mod store;
mod values;

pub(crate) use self::assignments::{Assignments, Given};
pub(crate) use self::claims::{Claims, is_listened_at};
pub(crate) use self::documented::{Documented, documented};
pub(crate) use self::export::{Export, ExportFormat};
pub(crate) use self::pool::{PORTS_EACH, Pool, PoolName, Pools};
pub(crate) use self::store::Store;
pub(crate) use self::values::{MacPrefix, address, text};
