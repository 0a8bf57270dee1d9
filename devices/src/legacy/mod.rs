//! Devices of the PC platform.
