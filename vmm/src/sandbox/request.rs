//! Requests to KVM (KVM api.rst, section 4), TAPs, vhost and terminals that `libc` lacks.

pub(super) const KVM_RUN: u32 = 0xae80;
pub(super) const KVM_GET_REGS: u32 = 0x8090_ae81;
pub(super) const KVM_REGISTER_COALESCED_MMIO: u32 = 0x4010_ae67;
pub(super) const KVM_SET_GSI_ROUTING: u32 = 0x4008_ae6a;
pub(super) const KVM_IRQFD: u32 = 0x4020_ae76;
pub(super) const KVM_IOEVENTFD: u32 = 0x4040_ae79;
/// Linux include/uapi/linux/kvm.h: `_IO(KVMIO, 0xad)`.
pub(super) const KVM_KVMCLOCK_CTRL: u32 = 0xaead;
pub(super) const KVM_SIGNAL_MSI: u32 = 0x4020_aea5;
pub(super) const TUNSETOFFLOAD: u32 = 0x4004_54d0;
pub(super) const TUNSETQUEUE: u32 = 0x4004_54d9;
// Linux uapi/linux/vhost.h
pub(super) const VHOST_SET_FEATURES: u32 = 0x4008_af00;
pub(super) const VHOST_SET_MEM_TABLE: u32 = 0x4008_af03;
pub(super) const VHOST_SET_VRING_NUM: u32 = 0x4008_af10;
pub(super) const VHOST_SET_VRING_ADDR: u32 = 0x4028_af11;
pub(super) const VHOST_SET_VRING_BASE: u32 = 0x4008_af12;
pub(super) const VHOST_GET_VRING_BASE: u32 = 0xc008_af12;
pub(super) const VHOST_SET_VRING_KICK: u32 = 0x4008_af20;
pub(super) const VHOST_SET_VRING_CALL: u32 = 0x4008_af21;
pub(super) const VHOST_NET_SET_BACKEND: u32 = 0x4008_af30;
pub(super) const VHOST_VSOCK_SET_RUNNING: u32 = 0x4004_af61;
pub(super) const TCSETS2: u32 = 0x402c_542b;
