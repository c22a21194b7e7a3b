// SPDX-License-Identifier: GPL-2.0

//! The source's end of a leg, as `leg/source*.rs` and `resync/mod.rs` have it.

use super::greeting;
use super::journal::part;
use super::meta::Step as Done;
use super::node::{ConnId, Message, Prepare, Sender};
use super::volume::{Announcement, Outgoing, Step, Work};
use super::world::World;
use netraid_core::{
    handshake::{source_decide, Copying, Plan},
    leg::{Action, Event, Greeting, State},
    meta::{MetaFlags, PeerFlags},
    wire::{features, HelloFlags, Kind, RefuseCode, Welcome},
};

impl World {
    /// As `SourceLeg::fire`.
    pub(crate) fn fire(&mut self, node: usize, event: Event) {
        let mut next = Some(event);
        while let Some(event) = next.take() {
            let Some(leg) = self.nodes[node].leg() else { return };
            let actions = leg.machine.on_event(event);
            for action in actions.iter() {
                if let Some(follows) = self.execute(node, action) {
                    next = Some(follows);
                }
            }
        }
    }

    /// As `SourceLeg::fire_on`.
    pub(crate) fn fire_on(&mut self, node: usize, conn: ConnId, event: Event) {
        if self.nodes[node].leg().is_some_and(|leg| leg.conn == Some(conn)) {
            self.fire(node, event);
        }
    }

    fn execute(&mut self, node: usize, action: Action) -> Option<Event> {
        let source = self.nodes[node].source()?;
        let leg = source.leg.as_mut()?;
        let volume = &mut source.volume;
        match action {
            Action::Close => {
                let conn = leg.conn.take()?;
                self.close_source(conn);
            }
            Action::GoLive => {
                return Some(if volume.go_live() {
                    Event::LiveClean
                } else {
                    Event::LiveDirty
                });
            }
            Action::Cut => return volume.cut().then_some(Event::Drained),
            Action::Abandon => volume.abandon(),
            Action::StartResync => leg.copying = true,
            Action::StopResync => leg.copying = false,
            Action::SendResyncDone => volume.tell(Kind::ResyncDone),
            Action::SendPause => volume.tell(Kind::Pause),
            Action::SendResume => volume.tell(Kind::Resume),
            Action::ArmBackoff
            | Action::ArmSlow
            | Action::ArmBehind
            | Action::ResetBackoff
            | Action::MarkAll
            | Action::Notify
            | Action::NotifyDone => {}
        }
        None
    }

    /// One step of the connecting thread while there is no connection: the delay is over, or an attempt.
    pub(crate) fn attempt(&mut self, node: usize) {
        let Some(leg) = self.nodes[node].leg() else { return };
        match leg.machine.state() {
            State::Waiting if leg.prepare.is_none() => self.fire(node, Event::Timer),
            State::Connecting if leg.prepare.is_none() => {
                let paused = leg.machine.pause_wanted();
                let port = self.nodes[node].meta.peer().port;
                let Some(other) = self.at_port(port).filter(|other| self.reaches(node, *other)) else {
                    return self.fire(node, Event::ConnectFailed);
                };
                let conn = self.connect(node, other);
                if let Some(leg) = self.nodes[node].leg() {
                    leg.conn = Some(conn);
                }
                self.fire(node, Event::Connected);
                let flags = HelloFlags::NONE.with(HelloFlags::PAUSED, paused);
                let hello = greeting::hello(node, &self.nodes[node], flags);
                self.send_to_target(conn, Message::Hello(Box::new(hello)));
            }
            _ => {}
        }
    }

    /// Whether a message that arrives would be read.
    pub(crate) fn source_reads(&mut self, node: usize, conn: ConnId) -> bool {
        self.nodes[node].leg().is_some_and(|leg| {
            leg.conn == Some(conn)
                && leg.prepare.is_none()
                && leg.merging.is_none()
                && (leg.machine.state().is_connected() || leg.machine.state() == State::Handshake)
        })
    }

    /// A message of the target arrives.
    pub(crate) fn source_receives(&mut self, node: usize, conn: ConnId, message: Message) -> Done {
        match message {
            Message::Welcome(welcome) => return self.welcomed(node, conn, welcome),
            Message::Refuse(code) => return self.refused(node, conn, code),
            Message::Ack(seq) => {
                if !self.nodes[node].volume().is_some_and(|volume| volume.confirm(seq)) {
                    self.fire_on(node, conn, Event::Lost);
                }
            }
            Message::Done(kind, fine) => return self.replied(node, conn, kind, fine),
            Message::Map(words) => {
                if let Some(volume) = self.nodes[node].volume() {
                    volume.maps.dirty.merge(0, [words].into_iter());
                }
                if let Some(leg) = self.nodes[node].leg() {
                    leg.merging = Some(conn);
                }
            }
            Message::Takeover => {
                if let Some(source) = self.nodes[node].source() {
                    source.asked = true;
                }
            }
            _ => self.fire_on(node, conn, Event::Lost),
        }
        Ok(())
    }

    fn refused(&mut self, node: usize, conn: ConnId, code: RefuseCode) -> Done {
        self.nodes[node].refused = Some(code);
        self.counts.split += u64::from(code == RefuseCode::SplitBrain);
        self.counts.newer += u64::from(code == RefuseCode::Newer);
        if code == RefuseCode::SplitBrain {
            self.nodes[node]
                .meta
                .change(|sb| sb.flags.set(MetaFlags::SPLIT_BRAIN, true))?;
        }
        self.fire_on(node, conn, Event::Refused);
        Ok(())
    }

    fn welcomed(&mut self, node: usize, conn: ConnId, welcome: Box<Welcome>) -> Done {
        let it = &mut self.nodes[node];
        let paused = it.leg().is_some_and(|leg| leg.machine.pause_wanted());
        let mut facts = greeting::source_facts(&it.meta, &welcome.node_uuid, paused);
        let mut plan = source_decide(&facts, &welcome);
        if matches!(plan, Plan::Agree(agreement) if agreement.begins) {
            self.begin_generation(node)?;
            facts = greeting::source_facts(&self.nodes[node].meta, &welcome.node_uuid, paused);
            plan = source_decide(&facts, &welcome);
        }
        let it = &mut self.nodes[node];
        let agreement = match plan {
            Plan::Agree(agreement) => agreement,
            Plan::Refuse(code) => return self.refused(node, conn, code),
        };
        let Some(source) = it.source() else { return Ok(()) };
        match agreement.copying {
            Copying::Everything => source.volume.maps.dirty.set_all(),
            Copying::Written => source.volume.mark_written(),
            Copying::Marked => {}
        }
        if agreement.distrust {
            source.volume.distrust();
        }
        if let Some(leg) = &mut source.leg {
            leg.prepare = Some(Prepare {
                conn,
                welcome,
                agreement,
                current: facts.mine.current,
                noted: false,
            });
        }
        Ok(())
    }

    /// As `Volume::begin_generation`.
    fn begin_generation(&mut self, node: usize) -> Done {
        let fresh = self.number();
        let Some((volume, meta, disk)) = self.nodes[node].parts() else {
            return Ok(());
        };
        part(meta, fresh, volume.step)?;
        volume.generation = fresh;
        (volume.step, volume.others) = (Step::Apart, Step::Apart);
        volume.release(disk);
        Ok(())
    }

    /// Whether the connecting thread or the receiving one waits for the metadata, and need wait no longer.
    pub(crate) fn can_prepare(&mut self, node: usize) -> bool {
        let Some(source) = self.nodes[node].source() else {
            return false;
        };
        let kept = source.volume.is_kept();
        let waits = |leg: &super::node::Leg| leg.merging.is_some() || leg.prepare.is_some();
        source.leg.as_ref().is_some_and(waits) && kept
    }

    /// The rest of `source_connect::prepare`, in two steps, and that of `source_receive::map`.
    pub(crate) fn prepare(&mut self, node: usize) -> Done {
        let fresh = self.nodes[node].instance;
        let Some(source) = self.nodes[node].source() else {
            return Ok(());
        };
        let Some(leg) = &mut source.leg else { return Ok(()) };
        if let Some(conn) = leg.merging.take() {
            self.fire_on(node, conn, Event::MapDone);
            return Ok(());
        }
        let Some(prepare) = leg.prepare.take() else {
            return Ok(());
        };
        if !prepare.noted {
            debug_assert_ne!(fresh, prepare.welcome.instance);
            return self.note_target(node, prepare);
        }
        if leg.conn == Some(prepare.conn) {
            let greeting = Greeting {
                full: prepare.agreement.copying == Copying::Everything,
                target_paused: prepare.agreement.merge_map,
            };
            self.fire(node, Event::Welcomed(greeting));
        }
        Ok(())
    }

    fn note_target(&mut self, node: usize, mut prepare: Prepare) -> Done {
        let welcome = &prepare.welcome;
        self.nodes[node].meta.change(|sb| {
            let peer = &mut sb.peers[0];
            if peer.uuid != welcome.node_uuid {
                peer.base = 0;
            }
            peer.uuid = welcome.node_uuid;
            peer.name = welcome.node_name;
            peer.instance = welcome.instance;
        })?;
        let announced = Announcement {
            generation: prepare.current,
            resync: welcome.generation != prepare.current,
            theirs: welcome.generation,
            covered: prepare.agreement.covered,
        };
        let durable = prepare.welcome.features & features::DURABLE != 0;
        prepare.noted = true;
        if let Some(source) = self.nodes[node].source() {
            source.volume.announced = announced;
            source.volume.durable = durable;
            if let Some(leg) = &mut source.leg {
                leg.prepare = Some(prepare);
            }
        }
        Ok(())
    }

    fn replied(&mut self, node: usize, conn: ConnId, kind: Kind, fine: bool) -> Done {
        let event = match kind {
            Kind::ResyncDone if fine => {
                let gone = MetaFlags::SPLIT_BRAIN
                    .with(MetaFlags::PREPARED, true)
                    .with(MetaFlags::TOOK_OVER, true);
                self.nodes[node].meta.change(|sb| {
                    sb.flags = sb.flags.without(gone);
                    sb.peers[0].flags.set(PeerFlags::FULL, false);
                })?;
                self.counts.together += 1;
                if let Some((volume, _, disk)) = self.nodes[node].parts() {
                    volume.follows = false;
                    volume.release(disk);
                }
                Event::DoneAcked
            }
            Kind::Pause if fine => Event::PauseAcked,
            Kind::Resume if fine => Event::ResumeAcked,
            Kind::Resume => Event::ResumeRefused,
            _ => Event::Lost,
        };
        self.fire_on(node, conn, event);
        Ok(())
    }

    /// Whether the sending thread has something to do.
    pub(crate) fn can_send(&mut self, node: usize) -> bool {
        let Some(source) = self.nodes[node].source() else {
            return false;
        };
        let Some(leg) = &source.leg else { return false };
        let drained = source.volume.draining && source.volume.outstanding == 0;
        leg.sender.is_some()
            || (leg.connected().is_some()
                && (source.volume.has_outgoing() || (drained && leg.machine.state() == State::Pausing)))
    }

    /// One step of the sending thread.
    pub(crate) fn send(&mut self, node: usize) -> Done {
        let Some(source) = self.nodes[node].source() else {
            return Ok(());
        };
        let Some(leg) = &mut source.leg else { return Ok(()) };
        let volume = &mut source.volume;
        leg.sender = match leg.sender {
            None => leg.connected().map(|conn| Sender::Loop(conn, volume.connection)),
            Some(Sender::Loop(conn, epoch)) => match volume.next_outgoing(epoch) {
                Some(it @ Outgoing::Control(Kind::ResyncDone, _)) => Some(Sender::Base(conn, epoch, it)),
                Some(it) => Some(Sender::Send(conn, epoch, it)),
                None => {
                    leg.sender = None;
                    let drained = volume.draining && volume.outstanding == 0;
                    if drained && leg.machine.state() == State::Pausing {
                        self.fire_on(node, conn, Event::Drained);
                    }
                    return Ok(());
                }
            },
            Some(Sender::Base(conn, epoch, it)) => {
                let given = match it {
                    Outgoing::Control(_, generation) => generation,
                    Outgoing::Request(_) => 0,
                };
                leg.sender = Some(Sender::Together(conn, epoch, it));
                return self.nodes[node].meta.change(|sb| {
                    if sb.current == given {
                        sb.peers[0].base = 0;
                    }
                });
            }
            Some(Sender::Together(conn, epoch, it)) => {
                volume.note_together(true);
                Some(Sender::Send(conn, epoch, it))
            }
            Some(Sender::Send(conn, epoch, it)) => {
                leg.sender = None;
                self.send_one(node, conn, epoch, it);
                return Ok(());
            }
        };
        Ok(())
    }

    fn send_one(&mut self, node: usize, conn: ConnId, epoch: u64, it: Outgoing) {
        let Some(volume) = self.nodes[node].volume() else {
            return;
        };
        let message = match it {
            Outgoing::Control(Kind::ResyncStart, generation) => Some(Message::ResyncStart(generation)),
            Outgoing::Control(Kind::ResyncDone, generation) => Some(Message::ResyncDone(generation)),
            Outgoing::Control(Kind::Pause, _) => Some(Message::Pause),
            Outgoing::Control(..) => Some(Message::Resume),
            Outgoing::Request(id) => volume.request(id).map(|it| match it.work {
                Work::Write(chunk, version) => {
                    Message::Write(it.seq, chunk, version, it.origin == super::volume::Origin::Copy)
                }
                Work::Flush => Message::Flush(it.seq),
            }),
        };
        let sent = message.is_some_and(|message| self.send_to_target(conn, message));
        if let (Outgoing::Request(id), Some(volume)) = (it, self.nodes[node].volume()) {
            volume.sent(id);
        }
        if sent {
            // The thread goes on with the connection that it has.
            if let Some(leg) = self.nodes[node].leg() {
                leg.sender = Some(Sender::Loop(conn, epoch));
            }
        } else {
            self.fire_on(node, conn, Event::Lost);
        }
    }
}
