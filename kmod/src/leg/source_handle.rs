// SPDX-License-Identifier: GPL-2.0

//! The threads of a source's leg.

use super::{
    source::{SourceConfig, SourceLeg},
    source_connect, source_send,
};
use crate::{resync, sys::thread::KThread, volume::VolumeRef};
use kernel::{prelude::*, sync::Arc};

/// A leg with its threads. Dropping it ends them: first they are told, then they are waited for.
pub(crate) struct SourceHandle {
    pub(crate) leg: Arc<SourceLeg>,
    _connector: KThread,
    _sender: KThread,
    _resync: KThread,
}

impl SourceHandle {
    /// Makes a leg with its threads; it begins with [`SourceLeg::begin`].
    pub(crate) fn start(config: SourceConfig, volume: VolumeRef) -> Result<Self> {
        let leg = SourceLeg::new(config, volume)?;
        // A thread that starts before a later one fails to start finds the leg stopping and ends.
        let stop = kernel::types::ScopeGuard::new_with_data(leg.clone(), |leg| leg.stop());
        let (one, two, three) = (leg.clone(), leg.clone(), leg.clone());
        let connector = KThread::spawn(c"netraid_leg", move || source_connect::run(&one))?;
        let sender = KThread::spawn(c"netraid_send", move || source_send::run(&two))?;
        let resync = KThread::spawn(c"netraid_resync", move || resync::run(&three))?;
        stop.dismiss();
        Ok(Self {
            leg,
            _connector: connector,
            _sender: sender,
            _resync: resync,
        })
    }
}

impl Drop for SourceHandle {
    fn drop(&mut self) {
        if let Some(link) = self.leg.connected() {
            link.say_goodbye();
        }
        self.leg.stop();
    }
}
