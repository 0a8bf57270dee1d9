//! Requests about extended attributes.

use rustix::io::Errno;

use super::protocol::{GetxattrIn, GetxattrOut, InitFlags, SETXATTR_IN_SHORT, SetxattrIn};
use super::request::{Answer, Ended, Request, split_name};
use super::server::Server;

/// The longest value, and the longest list of names (Linux `XATTR_SIZE_MAX`, `XATTR_LIST_MAX`).
const VALUE_MAX: usize = 64 << 10;
/// The longest name with its NUL (Linux `XATTR_NAME_MAX`).
const NAME_MAX: usize = 256;

impl Server {
    pub(super) fn getxattr(&mut self, request: &mut Request<'_, '_>) -> Answer {
        let args: GetxattrIn = request.args()?;
        request.read_text(NAME_MAX)?;
        let (name, _) = split_name(request.text)?;
        let name = name.to_owned();
        let node = request.node();
        let size = args.size;
        answer_sized(request, size, |buffer| {
            self.share.get_xattr(node, &name, buffer)
        })
    }

    pub(super) fn listxattr(&mut self, request: &mut Request<'_, '_>) -> Answer {
        let args: GetxattrIn = request.args()?;
        let node = request.node();
        answer_sized(request, args.size, |buffer| {
            self.share.list_xattrs(node, buffer)
        })
    }

    pub(super) fn setxattr(&mut self, request: &mut Request<'_, '_>) -> Answer {
        let mut args: SetxattrIn = SetxattrIn::default();
        let extended = self.agreed(InitFlags::SETXATTR_EXT);
        let len = if extended {
            size_of::<SetxattrIn>()
        } else {
            SETXATTR_IN_SHORT
        };
        let bytes = zerocopy::IntoBytes::as_mut_bytes(&mut args).get_mut(..len);
        if !bytes.is_some_and(|bytes| request.input.read_exact(bytes)) {
            return Err(Errno::INVAL);
        }
        request.read_text(NAME_MAX + VALUE_MAX)?;
        let (name, value) = split_name(request.text)?;
        let value = value.get(..args.size as usize).ok_or(Errno::INVAL)?;
        self.share
            .set_xattr(request.node(), name, value, args.flags)?;
        Ok(Ended::Answer)
    }

    pub(super) fn removexattr(&mut self, request: &mut Request<'_, '_>) -> Answer {
        request.read_text(NAME_MAX)?;
        let (name, _) = split_name(request.text)?;
        self.share.remove_xattr(request.node(), name)?;
        Ok(Ended::Answer)
    }
}

/// Answers with what `get` puts into a buffer of `size` bytes or, for none, with its length.
fn answer_sized(
    request: &mut Request<'_, '_>,
    size: u32,
    get: impl FnOnce(&mut [u8]) -> Result<usize, Errno>,
) -> Answer {
    let size = (size as usize).min(VALUE_MAX);
    request.text.clear();
    request.text.resize(size, 0);
    let len = get(request.text)?;
    if size == 0 {
        let size = u32::try_from(len).map_err(|_| Errno::TOOBIG)?;
        return request.answer(&GetxattrOut { size, padding: 0 });
    }
    let value = request.text.get(..len).ok_or(Errno::RANGE)?;
    let fits = request.output.write_all(value);
    if fits {
        Ok(Ended::Answer)
    } else {
        Err(Errno::RANGE)
    }
}
