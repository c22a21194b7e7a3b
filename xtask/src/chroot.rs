// SPDX-License-Identifier: GPL-2.0
//! Runs programs inside a root made by mmdebstrap, with directories of this machine bound into it.
//!
//! The binds live in a mount namespace of the program alone: nothing is left mounted, whatever happens to it, and
//! several programs can use the same root at once. Inside, the program runs as the caller, so that what it makes
//! belongs to the caller.

use std::path::{Path, PathBuf};

use crate::cmd::Cmd;
use crate::host::Admin;

/// Directories that exist in the build root to bind something onto.
pub const MOUNT_POINTS: &[&str] = &["/linux", "/netraid", "/out"];

/// Arguments: root, UID:GID, pairs of (directory, place in the root), `--`, command.
const ENTER: &str = r#"
set -e
root=$1; ids=$2; shift 2
while [ "$1" != -- ]; do mount --bind "$1" "$root$2"; shift 2; done
shift
mount -t proc proc "$root/proc"
exec chroot --userspec="$ids" --groups= "$root" "$@"
"#;

/// A root to run programs in.
#[derive(Debug, Clone)]
pub struct Chroot {
    /// Where the root is.
    pub root: PathBuf,
    admin: Admin,
    binds: Vec<(PathBuf, &'static str)>,
}

impl Chroot {
    /// The root at `root`.
    #[must_use]
    pub fn new(root: &Path, admin: &Admin) -> Self {
        Self {
            root: root.to_owned(),
            admin: admin.clone(),
            binds: Vec::new(),
        }
    }

    /// The same root with `dir` bound onto `place`, one of [`MOUNT_POINTS`].
    #[must_use]
    pub fn bind(mut self, dir: &Path, place: &'static str) -> Self {
        self.binds.push((dir.to_owned(), place));
        self
    }

    /// `program`, to be run in the root with a plain environment.
    #[must_use]
    pub fn cmd(&self, program: &str) -> Cmd {
        let mut cmd = self
            .admin
            .cmd("env")
            .args([
                "-i",
                "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
                "LC_ALL=C",
                "HOME=/tmp",
                "unshare",
                "--mount",
                "sh",
                "-c",
                ENTER,
                "enter",
            ])
            .arg(&self.root)
            .arg(self.admin.ids());
        for (dir, place) in &self.binds {
            cmd = cmd.arg(dir).arg(*place);
        }
        cmd.arg("--").leading().arg(program)
    }
}
