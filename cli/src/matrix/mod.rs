//! A command over kernels, variants and parameters: the file that says so, the cells that come of it, and their results.
//! Knows nothing of how a cell is run.

pub(crate) mod cells;
pub(crate) mod file;
pub(crate) mod junit;
pub(crate) mod results;
pub(crate) mod schedule;
