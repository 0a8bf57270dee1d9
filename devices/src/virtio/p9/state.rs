//! What of a session outlives its process: the share's files, and the fids that stand for them.

use std::ffi::CString;

use serde::{Deserialize, Serialize};

use super::fid::{Fid, Open, OpenFile, XattrWrite};
use super::server::Server;
use crate::backend::fs::{HandleId, NodeId, ShareState, StateError};

/// The saved state of the device.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct P9StateV1 {
    msize: Option<u32>,
    share: ShareState,
    fids: Vec<FidState>,
    lockers: Vec<(u32, u64)>,
    pub(super) waiting: Vec<(u16, u16, u64)>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FidState {
    fid: u32,
    node: u64,
    uid: u32,
    open: OpenState,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum OpenState {
    No,
    File {
        handle: u64,
        append: bool,
        drop_setid: bool,
    },
    Dir {
        handle: u64,
    },
    XattrRead {
        value: Vec<u8>,
    },
    XattrWrite {
        name: Vec<u8>,
        size: usize,
        flags: u32,
        value: Vec<u8>,
    },
}

impl OpenState {
    fn of(open: &Open) -> Self {
        match open {
            Open::No => Self::No,
            Open::File(file) => Self::File {
                handle: file.handle.raw(),
                append: file.append,
                drop_setid: file.drop_setid,
            },
            Open::Dir(handle) => Self::Dir {
                handle: handle.raw(),
            },
            Open::XattrRead(value) => Self::XattrRead {
                value: value.to_vec(),
            },
            Open::XattrWrite(write) => Self::XattrWrite {
                name: write.name.as_bytes().to_vec(),
                size: write.size,
                flags: write.flags,
                value: write.value.clone(),
            },
        }
    }

    fn open(&self) -> Option<Open> {
        Some(match self {
            Self::No => Open::No,
            Self::File {
                handle,
                append,
                drop_setid,
            } => Open::File(OpenFile {
                handle: HandleId::from_raw(*handle),
                append: *append,
                drop_setid: *drop_setid,
            }),
            Self::Dir { handle } => Open::Dir(HandleId::from_raw(*handle)),
            Self::XattrRead { value } => Open::XattrRead(value.clone().into_boxed_slice()),
            Self::XattrWrite {
                name,
                size,
                flags,
                value,
            } => Open::XattrWrite(Box::new(XattrWrite {
                name: CString::new(name.clone()).ok()?,
                size: (*size).max(value.len()),
                flags: *flags,
                value: value.clone(),
            })),
        })
    }
}

impl Server {
    pub(super) fn save(&self, waiting: Vec<(u16, u16, u64)>) -> P9StateV1 {
        let fids = self.fids.iter().map(|(number, fid)| FidState {
            fid: number,
            node: fid.node.raw(),
            uid: fid.uid,
            open: OpenState::of(&fid.open),
        });
        P9StateV1 {
            msize: self.msize,
            share: self.share.save(),
            fids: fids.collect(),
            lockers: self.lockers.iter().copied().collect(),
            waiting,
        }
    }

    /// Takes a saved session back; how many open files and locks could not be had back.
    pub(super) fn restore(&mut self, state: &P9StateV1) -> Result<usize, StateError> {
        let lost = self.share.restore(&state.share)?;
        self.msize = state.msize;
        for saved in &state.fids {
            let fid = Fid {
                node: NodeId::from_raw(saved.node),
                uid: saved.uid,
                open: saved.open.open().ok_or(StateError::Name)?,
            };
            self.weight += fid.weight();
            self.fids.insert(saved.fid, fid);
        }
        self.lockers = state.lockers.iter().copied().collect();
        Ok(lost)
    }
}
