// SPDX-License-Identifier: GPL-2.0
//! Clusters of virtual machines for the tests of netraid.
//!
//! A [`Cluster`] is some machines ([`Node`]) with data disks ([`Disk`]) that live on the host,
//! joined by networks ([`Switch`]) that this process runs and can disturb. Each machine runs an
//! agent that carries out commands; a machine can be killed at any moment. Nothing here sleeps:
//! whoever waits, waits for an event, and every wait has an end.

pub mod acks;
pub mod artifacts;
pub mod boot;
pub mod cluster;
pub mod console;
pub mod cpio;
pub mod disk;
pub mod events;
pub mod image;
pub mod log_writes;
pub mod metadata;
pub mod node;
pub mod order;
pub mod packet;
pub mod patience;
pub mod program;
pub mod truth;
pub mod workload;

mod clock;
mod files;
mod picture;
mod qemu;
mod qmp;
mod rpc;
mod state;
pub mod switch;

pub use acks::Verdict;
pub use artifacts::Artifacts;
pub use cluster::{Cluster, ClusterSpec};
pub use disk::{Disk, DiskSpec, MIB};
pub use events::Events;
pub use metadata::{Chunks, Metadata};
pub use node::Node;
pub use picture::Pictures;
pub use program::{Call, Job, Output};
pub use switch::Switch;
pub use truth::Truth;
pub use workload::Workload;
