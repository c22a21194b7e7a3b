// SPDX-License-Identifier: GPL-2.0

//! Error numbers that the `kernel` crate of 7.2 does not name.

use kernel::{bindings, error::Error};

/// An error number; converts into an [`Error`] and compares with one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Errno(u32);

impl From<Errno> for Error {
    fn from(errno: Errno) -> Self {
        Self::from_errno(-(errno.0 as i32))
    }
}

impl PartialEq<Errno> for Error {
    fn eq(&self, other: &Errno) -> bool {
        self.to_errno() == -(other.0 as i32)
    }
}

macro_rules! numbers {
    ($($name:ident)+) => { $(pub(crate) const $name: Errno = Errno(bindings::$name);)+ };
}

numbers! {
    EADDRINUSE EADDRNOTAVAIL EALREADY ECONNREFUSED ECONNRESET EDQUOT EHOSTUNREACH EINPROGRESS ENETUNREACH ENODATA
    EOPNOTSUPP EPROTONOSUPPORT
}
