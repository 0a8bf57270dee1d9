//! Host-side back ends of devices.
