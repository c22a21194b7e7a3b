// SPDX-License-Identifier: GPL-2.0

//! The door of a source, or of one that waits to be told what it may be: whoever asks how this machine stands is told,
//! and a rival is refused.

use super::{
    accept::{self, Host, Lobby},
    greeting::{self, DiskFacts, Facts},
    link::Link,
    reception::Place,
    Node, Observer, Report, Timing,
};
use crate::{
    meta::{maps::PEER, Store},
    sys::{
        net::{Address, NetNs},
        thread::KThread,
    },
};
use kernel::{
    prelude::*,
    sync::{
        atomic::{Atomic, Relaxed},
        Arc,
    },
};
use netraid_core::{state::Role, wire::Hello};

/// What a door is given.
pub(crate) struct DoorConfig {
    pub(crate) node: Node,
    pub(crate) timing: Timing,
    pub(crate) observer: Observer,
    /// Source, or stopped.
    pub(crate) role: Role,
    pub(crate) store: Arc<Store>,
    pub(crate) disk: DiskFacts,
}

/// What the thread behind the door works with.
struct Porter {
    config: DoorConfig,
    lobby: Arc<Lobby>,
    stopping: Atomic<bool>,
}

impl Host for Porter {
    fn lobby(&self) -> &Lobby {
        &self.lobby
    }

    fn tick_ms(&self) -> u32 {
        self.config.timing.tick_ms()
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Relaxed)
    }

    fn greeted(self: &Arc<Self>, link: &Arc<Link>, hello: &Hello) {
        let facts = Facts {
            role: self.config.role,
            node: &self.config.node,
            store: &self.config.store,
            disk: self.config.disk,
            connected: None,
            device_in_use: false,
            has_own_data: false,
            tells_recent: false,
        };
        match greeting::answer(&facts, link, hello) {
            greeting::Answer::Told => {}
            greeting::Answer::Refused(reason) => self.lobby.tell(Report::Refused(reason)),
            greeting::Answer::SplitBrain(reason) => self.lobby.tell(Report::Standing(reason)),
            // Only a target accepts.
            greeting::Answer::Accept => link.abort(),
        }
    }
}

/// An open door. Dropping it closes it.
pub(crate) struct Door {
    porter: Arc<Porter>,
    // Before the thread, so that nobody comes to where no thread is.
    _place: Place,
    _thread: KThread,
}

impl Door {
    /// Listens at `address`; may sleep.
    ///
    /// # Errors
    ///
    /// Those of [`Place::take`].
    pub(crate) fn open(net: &NetNs, address: &Address, config: DoorConfig) -> Result<Self> {
        let lobby = Lobby::new(
            config.node,
            config.role,
            config.store.clone(),
            config.observer,
            PEER as u32 + 1,
        )?;
        let place = Place::take(net, address, &lobby)?;
        let porter = Arc::new(
            Porter {
                config,
                lobby,
                stopping: Atomic::new(false),
            },
            GFP_KERNEL,
        )?;
        let its = porter.clone();
        let thread = KThread::spawn(c"netraid_door", move || accept::run(&its))?;
        Ok(Self {
            porter,
            _place: place,
            _thread: thread,
        })
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.porter.stopping.store(true, Relaxed);
        self.porter.lobby.wake();
    }
}
