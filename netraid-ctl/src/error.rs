// SPDX-License-Identifier: GPL-2.0
//! What can go wrong, and the exit status that says so.

use std::io;

use thiserror::Error;

use crate::nl::{NlError, Refusal};

/// The error numbers of Linux that mean something to the commands.
pub mod errno {
    /// Only root may do this.
    pub const EPERM: i32 = 1;
    /// There is no such thing.
    pub const ENOENT: i32 = 2;
    /// It is in use.
    pub const EBUSY: i32 = 16;
    /// It is there already.
    pub const EEXIST: i32 = 17;
    /// Another program listens there.
    pub const EADDRINUSE: i32 = 98;
    /// It is no address of this machine.
    pub const EADDRNOTAVAIL: i32 = 99;
    /// It is so already.
    pub const EALREADY: i32 = 114;
}

use errno::{ENOENT, EPERM};

/// The exit status of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Done.
    Done = 0,
    /// The command line made no sense, or a question was not answered with yes.
    Usage = 1,
    /// The kernel said no, or would have.
    Refused = 2,
    /// `status --check` found a mirror that is not fully operational.
    Degraded = 3,
    /// A wait ran out of time.
    Timeout = 4,
}

/// A failure whose exit status is not that of a refusal.
#[derive(Debug, Error)]
pub enum Failure {
    /// The command line made no sense, or a question was not answered with yes.
    #[error("{0}")]
    Usage(String),
    /// A wait ran out of time.
    #[error("{0}")]
    Timeout(String),
}

/// The exit status for an error; `None` when whoever read the output went away, which is no error.
#[must_use]
pub fn status_of(error: &anyhow::Error) -> Option<Status> {
    let closed = |cause: &(dyn std::error::Error + 'static)| {
        cause
            .downcast_ref::<io::Error>()
            .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    };
    if error.chain().any(closed) {
        return None;
    }
    Some(match error.downcast_ref::<Failure>() {
        Some(Failure::Usage(_)) => Status::Usage,
        Some(Failure::Timeout(_)) => Status::Timeout,
        None => Status::Refused,
    })
}

/// Says what could not be done and what to do about it, for an error of the netlink layer.
///
/// `action` completes "cannot ..."; `next` names the next step for an error number, where there is one.
pub fn refused(action: &str, error: NlError, next: impl FnOnce(i32) -> Option<String>) -> anyhow::Error {
    let refusal = match error {
        NlError::Refused(refusal) => refusal,
        NlError::NotLoaded => return anyhow::Error::new(NlError::NotLoaded),
        other => return anyhow::Error::new(other).context(format!("cannot {action}")),
    };
    if refusal.errno() == EPERM {
        return anyhow::anyhow!("cannot {action}: {}", not_root(&refusal));
    }
    let step = next(refusal.errno()).or_else(|| {
        let list = "`netraid-ctl status` lists the mirrors of this machine";
        let told = refusal
            .sentence()
            .is_some_and(|sentence| sentence.contains("netraid-ctl status"));
        (refusal.errno() == ENOENT && !told).then(|| list.to_owned())
    });
    match step {
        Some(step) => anyhow::anyhow!("cannot {action}: {refusal}; {step}"),
        None => anyhow::anyhow!("cannot {action}: {refusal}"),
    }
}

fn not_root(refusal: &Refusal) -> String {
    let why = refusal
        .sentence()
        .map(|sentence| format!("{}; ", sentence.trim_end_matches('.')))
        .unwrap_or_default();
    format!("{why}only root may do this (CAP_NET_ADMIN and CAP_SYS_ADMIN are needed); try it with sudo")
}
