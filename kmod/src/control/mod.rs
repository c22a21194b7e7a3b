// SPDX-License-Identifier: GPL-2.0

//! Control: the operations of the netlink family, the mirrors they work on, and the events they lead to.
//!
//! # Locks
//!
//! In this order: a mirror's `operation` mutex (held for a whole operation, which may wait for threads), the registry,
//! a mirror's `state` mutex (short, never held over a wait), a leg's mutex. Events are sent under a mutex of their own,
//! so that their numbers leave in order; it comes before the registry.

mod attach;
mod desk;
mod encode;
mod handover;
mod leg_terms;
mod legs;
mod metadata;
mod mirror;
mod mirror_open;
mod notify;
mod operations;
mod params;
mod prepared;
mod registry;
mod roles;
mod view;

pub(crate) use desk::{close_desk, open_desk};
pub(crate) use notify::prepare_events;
pub(crate) use registry::{clear, prepare_registry};

crate::genl_handlers! {
    do netraid_nl_mirror_get_doit => operations::mirror_get;
    do netraid_nl_mirror_new_doit => operations::mirror_new;
    do netraid_nl_mirror_del_doit => operations::mirror_del;
    do netraid_nl_mirror_stop_doit => operations::mirror_stop;
    do netraid_nl_mirror_promote_doit => roles::mirror_promote;
    do netraid_nl_mirror_demote_doit => handover::mirror_demote;
    do netraid_nl_leg_new_doit => legs::leg_new;
    do netraid_nl_leg_del_doit => legs::leg_del;
    do netraid_nl_leg_pause_doit => legs::leg_pause;
    do netraid_nl_leg_resume_doit => legs::leg_resume;
    do netraid_nl_leg_full_doit => legs::leg_full;
    do netraid_nl_mirror_start_doit => roles::mirror_start;
    do netraid_nl_mirror_switchover_doit => handover::mirror_switchover;
    do netraid_nl_mirror_set_doit => operations::mirror_set;
    do netraid_nl_mirror_attach_doit => attach::mirror_attach;
    dump netraid_nl_mirror_get_dumpit => operations::mirror_dump;
}
