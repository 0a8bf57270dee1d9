//! The network as a guest and as the host see it: a smoltcp guest on one side, real loopback sockets
//! on the other.

mod guest;
mod link;
mod tcp;
mod udp;
