//! What the fuzz targets share: bytes become the operations of a driver that keeps to no rules.
//!
//! A target turns its input into a [`Subject`]'s life ([`device::run`]), into accesses to a
//! transport's registers ([`transport::run`]), or hands it to a parser. Inputs are made of
//! operations and not of messages alone, so that one reaches states that take several requests;
//! [`script`] writes such inputs by hand, which is how the committed corpora were made.

pub mod device;
pub mod files;
pub mod ground;
pub mod input;
pub mod legacy;
pub mod machine;
pub mod peer;
pub mod room;
pub mod script;
pub mod seeds;
pub mod subject;
pub mod talk;
pub mod transport;

pub use subject::Subject;
