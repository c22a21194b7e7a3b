// SPDX-License-Identifier: GPL-2.0

//! Why metadata can't be used, in sentences.

use super::place::MetaIo;
use crate::sys::{
    errno::{EDQUOT, ENODATA, EOPNOTSUPP, EPROTONOSUPPORT},
    genl::display,
};
use core::fmt;
use kernel::{alloc::AllocError, prelude::*, str::CStr};
use netraid_core::{
    meta::{LayoutError, MetaError},
    name::{Name, Text},
};

/// A refusal: an error number for programs and a sentence for people.
pub(crate) struct MetaRefusal {
    pub(crate) error: Error,
    pub(crate) reason: Text,
}

impl From<AllocError> for MetaRefusal {
    fn from(_: AllocError) -> Self {
        Self::memory()
    }
}

impl MetaRefusal {
    fn new(error: impl Into<Error>, text: fmt::Arguments<'_>) -> Self {
        Self {
            error: error.into(),
            reason: Text::format(text),
        }
    }

    pub(super) fn memory() -> Self {
        Self::new(
            ENOMEM,
            format_args!("there is no memory left for the metadata; try again"),
        )
    }

    /// The file or device can't be opened.
    pub(super) fn open(path: &CStr, error: Error) -> Self {
        let what = Shown(display(path));
        if error == ENOENT {
            Self::new(
                error,
                format_args!("there is no {what}; make it with `netraid-ctl create --bitmap PATH`"),
            )
        } else if error == EROFS || error == EACCES || error == EPERM {
            Self::read_only(path, error)
        } else if error == EINVAL {
            Self::no_direct(&what)
        } else if error == EBUSY || error == ETXTBSY {
            Self::new(
                error,
                format_args!("{what} is in use: mounted, swap, or part of another device; release it, or keep the metadata elsewhere"),
            )
        } else if error == EBADF || error == EISDIR {
            Self::new(
                error,
                format_args!("{what} is neither a file nor a block device; give the path of one for the metadata"),
            )
        } else {
            let errno = -error.to_errno();
            Self::new(
                error,
                format_args!("{what} can't be opened for the metadata (error {errno}); check the path and its rights"),
            )
        }
    }

    pub(super) fn read_only(path: &CStr, error: Error) -> Self {
        let what = Shown(display(path));
        Self::new(
            error,
            format_args!("{what} is read-only; make it writable, or keep the metadata elsewhere"),
        )
    }

    fn no_direct(what: &dyn fmt::Display) -> Self {
        Self::new(
            EOPNOTSUPP,
            format_args!("{what} takes no direct I/O in blocks of 4096 bytes; keep the metadata on another file system, or on a device"),
        )
    }

    /// The disk has sectors that are too large for blocks.
    pub(super) fn large_sectors(bytes: u32) -> Self {
        Self::new(
            EOPNOTSUPP,
            format_args!("the disk has sectors of {bytes} bytes, too large for metadata at its end; keep it in a file"),
        )
    }

    /// It is on a disk of ours.
    pub(super) fn own_disk(path: &CStr) -> Self {
        let what = Shown(display(path));
        Self::new(
            EINVAL,
            format_args!("{what} is on a mirror, and metadata there would wait for itself; keep it on another disk"),
        )
    }

    /// The file is shorter than what it held.
    pub(super) fn truncated(io: &MetaIo, needed: u64, len: u64) -> Self {
        Self::new(
            EINVAL,
            format_args!(
                "{} was truncated: it has {len} bytes, the metadata in it had {needed}; restore it, or delete the mirror here and make it anew, a full copy follows",
                Where(io)
            ),
        )
    }

    /// A device has too little room.
    pub(super) fn too_small(io: &MetaIo, needed: u64, has: u64) -> Self {
        let what = Where(io);
        Self::new(
            ENOSPC,
            format_args!(
                "{what} has {has} bytes, the metadata of the mirror needs {needed}; give a larger one, or a file"
            ),
        )
    }

    /// The metadata does not fit behind the mirror.
    pub(super) fn layout(error: LayoutError) -> Self {
        Self::new(ENOSPC, format_args!("{error}"))
    }

    /// Writing failed.
    pub(super) fn write(io: &MetaIo, error: Error, needed: u64) -> Self {
        let what = Where(io);
        if error == EINVAL {
            Self::no_direct(&what)
        } else if error == ENOSPC || error == EDQUOT || error == EFBIG {
            Self::new(
                error,
                format_args!("the file system has no room for {what} with {needed} bytes of metadata; make room there, or keep it elsewhere"),
            )
        } else {
            let errno = -error.to_errno();
            Self::new(
                error,
                format_args!("{what} can't be written (error {errno}); look at the kernel log"),
            )
        }
    }

    /// Reading failed.
    pub(super) fn read(io: &MetaIo, error: Error) -> Self {
        let what = Where(io);
        if error == EINVAL {
            return Self::no_direct(&what);
        }
        let errno = -error.to_errno();
        Self::new(
            error,
            format_args!("{what} can't be read (error {errno}); look at the kernel log"),
        )
    }

    /// There is no metadata that can be used.
    pub(super) fn unusable(io: &MetaIo, error: MetaError) -> Self {
        let what = Where(io);
        match error {
            MetaError::Blank => Self::new(
                ENODATA,
                format_args!("{what} holds no metadata, only zeroes; make the mirror with it first, or give the right path"),
            ),
            MetaError::NotMetadata => Self::new(
                EINVAL,
                format_args!("{what} holds something that is not metadata of a mirror; check that it is the right place"),
            ),
            MetaError::NewerVersion(_) => Self::new(EPROTONOSUPPORT, format_args!("{what}: {error}")),
            MetaError::Damaged | MetaError::Inconsistent(_) => Self::new(
                EIO,
                format_args!("the metadata in {what} is unreadable; keep it for analysis, then make the mirror anew with other metadata: a full copy follows"),
            ),
        }
    }

    /// What is there already must not be overwritten: metadata of a mirror.
    pub(super) fn holds_mirror(io: &MetaIo, name: Name) -> Self {
        let what = Where(io);
        Self::new(
            EEXIST,
            format_args!("{what} holds the metadata of mirror '{name}'; attach that mirror, or keep this one's metadata elsewhere"),
        )
    }

    /// What is there already must not be overwritten: anything else.
    pub(super) fn not_blank(io: &MetaIo, error: MetaError) -> Self {
        let what = Where(io);
        match error {
            MetaError::Blank | MetaError::NotMetadata => Self::new(
                EEXIST,
                format_args!("{what} is not blank; if what is there is not needed, overwrite it with zeroes, else keep the metadata elsewhere"),
            ),
            MetaError::NewerVersion(_) | MetaError::Damaged | MetaError::Inconsistent(_) => Self::new(
                EEXIST,
                format_args!("{what} holds metadata that can't be read; keep it for analysis, and this mirror's metadata elsewhere"),
            ),
        }
    }
}

/// The most of a path that leaves room for the sentence around it.
const PATH_SHOWN: usize = 96;

struct Shown<'a>(&'a str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.char_indices().nth(PATH_SHOWN) {
            Some((end, _)) => write!(f, "{}...", self.0.get(..end).unwrap_or_default()),
            None => f.write_str(self.0),
        }
    }
}

struct Where<'a>(&'a MetaIo);

impl fmt::Display for Where<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.path() {
            Some(path) => Shown(display(path)).fmt(f),
            None => f.write_str("the end of the disk"),
        }
    }
}
