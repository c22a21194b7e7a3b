// SPDX-License-Identifier: GPL-2.0

//! The thread that copies, as `resync/mod.rs` has it.

use super::bugs::Bugs;
use super::node::Pass;
use super::world::World;
use netraid_core::{
    leg::Event,
    resync::{Cursor, Step as Next},
};

/// Copies under way at a time.
const WINDOW: u32 = 3;

impl World {
    /// Whether the resync has something to do.
    pub(crate) fn can_copy(&mut self, node: usize) -> bool {
        let Some(source) = self.nodes[node].source() else {
            return false;
        };
        let volume = &source.volume;
        source.leg.as_ref().is_some_and(|leg| match leg.pass {
            Some(pass) => {
                let waits = volume.copies >= WINDOW || (pass.draining && volume.copies > 0);
                pass.clean || !leg.copying || !waits
            }
            None => leg.copying,
        })
    }

    /// One step of the resync.
    pub(crate) fn copy(&mut self, node: usize) {
        let Some(source) = self.nodes[node].source() else {
            return;
        };
        let Some(leg) = &mut source.leg else { return };
        let volume = &mut source.volume;
        let Some(mut pass) = leg.pass.take() else {
            leg.pass = leg.copying.then_some(Pass {
                cursor: Cursor::new(),
                draining: false,
                clean: false,
                conn: leg.conn,
            });
            return;
        };
        if pass.clean {
            if self.config.bugs.has(Bugs::OLD_CLEAN) {
                self.fire(node, Event::Clean);
            } else if let Some(conn) = pass.conn {
                self.fire_on(node, conn, Event::Clean);
            }
            return;
        }
        if !leg.copying {
            return;
        }
        pass.draining = false;
        let before = pass.cursor;
        match volume.next_copy(&mut pass.cursor) {
            Next::Copy(extent) => {
                let chunk = extent.chunks.start as usize;
                if volume.is_locked(chunk) {
                    pass.cursor = before;
                } else {
                    volume.copy(chunk);
                }
            }
            Next::Continue => {}
            Next::Wait => pass.draining = true,
            Next::End if volume.copies == 0 => pass.clean = true,
            Next::End => pass.draining = true,
        }
        leg.pass = Some(pass);
    }
}
