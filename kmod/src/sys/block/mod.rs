// SPDX-License-Identifier: GPL-2.0

//! Disks: the one netraid offers and the ones it uses.
//!
//! C headers: [`include/linux/blkdev.h`](srctree/include/linux/blkdev.h), [`include/linux/bio.h`](srctree/include/linux/bio.h)

mod bio;
mod bioset;
mod disk;
mod lower;
mod pages;
mod pass;

pub(crate) use bio::{Bio, BioList, IoResult, Op};
pub(crate) use bioset::{BioSet, Child, Done};
pub(crate) use disk::{Disk, Operations};
pub(crate) use lower::LowerDisk;
pub(crate) use pages::{PagePool, PagedBio, PagedDone, PagedSet};
pub(crate) use pass::{Passes, Returned};
