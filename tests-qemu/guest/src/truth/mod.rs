// SPDX-License-Identifier: GPL-2.0
//! Writes of which it can be told afterwards what a disk must hold.
//!
//! A [`Plan`] says what a run of the tool `truth` does: which operation a thread does as its n-th is a pure function of the
//! plan, so that a log of acknowledgements is all that has to be kept. Every sector that is written names the
//! operation that wrote it ([`sector`]), and a disk is read as a list of those ([`Found`]).

mod found;
mod plan;
pub mod sector;

pub use found::Found;
pub use plan::{Kind, Mix, Operation, Plan};
pub use sector::{Content, Id, SECTOR};
