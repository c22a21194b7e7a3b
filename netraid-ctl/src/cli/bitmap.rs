// SPDX-License-Identifier: GPL-2.0
//! Arguments of `bitmap`.

use std::ffi::OsString;

use clap::Args;

/// The ways to call it; clap would put the number, which is optional, behind FILE.
pub(super) const USAGE: &str = "\
netraid-ctl bitmap -X [--json] [--internal] FILE
       netraid-ctl bitmap -a [--internal] [N] FILE
       netraid-ctl bitmap -c [--yes] [--internal] FILE
       netraid-ctl bitmap -d [--internal] FILE";

/// Arguments of `bitmap`.
#[derive(Debug, Args)]
pub struct Bitmap {
    /// What to do.
    #[command(flatten)]
    pub action: BitmapAction,
    /// The file or block device with the bitmap; with -a a number may precede it
    #[arg(value_name = "FILE", required = true, num_args = 1..=2)]
    pub operands: Vec<OsString>,
    /// FILE is a disk that has the bitmap at its end
    #[arg(long)]
    pub internal: bool,
    /// Print JSON
    #[arg(long, short, conflicts_with_all = ["async_limit", "clean", "dirty"])]
    pub json: bool,
    /// Do not ask whether the copies are really the same
    #[arg(long, short, conflicts_with_all = ["async_limit", "dirty", "examine"])]
    pub yes: bool,
}

/// What `bitmap` does: exactly one of these.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct BitmapAction {
    /// Permit asynchronous targets, with at most N operations outstanding on each, or 256; up to 2 means 256, more than
    /// 4096 is not possible
    #[arg(short = 'a', long)]
    pub async_limit: bool,
    /// Clean the bitmap, so that nothing is copied: only where the target is known to hold an exact replica
    #[arg(short = 'c', long)]
    pub clean: bool,
    /// Dirty the bitmap, so that everything is copied, as after a split brain
    #[arg(short = 'd', long)]
    pub dirty: bool,
    /// Examine: show what the bitmap says of itself and of the mirror
    #[arg(short = 'X', long)]
    pub examine: bool,
}
