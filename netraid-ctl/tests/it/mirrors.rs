// SPDX-License-Identifier: GPL-2.0
//! Mirrors as the tests begin with them.

use netraid_ctl::gen::{self, Connection, Replication, Role, StartMode, State};

/// A leg that is as it should be.
pub(crate) fn leg(id: u32) -> gen::Leg {
    gen::Leg {
        id: Some(id),
        address: Some(vec![10, 0, 0, 2]),
        port: Some(7900),
        peer_name: Some("adam".to_owned()),
        state: Some(State::FullyOperational),
        connection: Some(Connection::Connected),
        replication: Some(Replication::Synchronous),
        chunks: Some(4895),
        dirty_chunks: Some(0),
        ..gen::Leg::default()
    }
}

/// A source with one leg.
pub(crate) fn source(name: &str) -> gen::Mirror {
    gen::Mirror {
        name: Some(name.to_owned()),
        id: Some(0),
        uuid: Some([0xab; 16]),
        role: Some(Role::Source),
        disk: Some("/dev/vdb".to_owned()),
        size: Some(4895 * 65536),
        chunk_size: Some(65536),
        node_name: Some("eve".to_owned()),
        device_present: true,
        leg: vec![leg(1)],
        ..gen::Mirror::default()
    }
}

/// A target that is connected to its source.
pub(crate) fn target(name: &str) -> gen::Mirror {
    gen::Mirror {
        role: Some(Role::Target),
        device_present: false,
        ..source(name)
    }
}

/// A start that nobody contradicts.
pub(crate) fn start(mirror: &mut gen::Mirror, asked: &gen::Mirror) {
    let was_source = mirror.last_owner;
    mirror.role = Some(match asked.mode.unwrap() {
        StartMode::Yield => Role::Target,
        StartMode::Auto if !was_source => Role::Target,
        _ => Role::Source,
    });
    mirror.stopped = false;
    mirror.data_corrupt = false;
    mirror.split_brain = false;
    mirror.device_present = mirror.role == Some(Role::Source);
}
