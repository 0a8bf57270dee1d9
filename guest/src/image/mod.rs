//! The builder of Debian images: from a variant to a bundle that `run` starts.

mod spec;

pub use spec::{Event, ImageSpec, KernelFlavour, Progress, RootForm};
