// SPDX-License-Identifier: GPL-2.0

//! The source's end of a leg: connecting, greeting, copying.

use crate::cluster::{Cluster, Step};
use crate::greet::{hello, source_facts};
use crate::mistake::Mistake;
use crate::net::Message;
use crate::node::{at, Active, Leg};
use netraid_core::generation::{relation, Relation};
use netraid_core::handshake::{source_decide, Agreement, Copying, Plan};
use netraid_core::leg::{Action, Event, Greeting, Machine, State};
use netraid_core::legs::LegNumber;
use netraid_core::meta::{MetaFlags, PeerFlags};
use netraid_core::state::Role;
use netraid_core::wire::{HelloFlags, Kind, RefuseCode, Welcome, WelcomeFlags};

/// Writes that an asynchronous target may lack of what was acknowledged.
pub const LIMIT: u32 = 3;

impl Cluster {
    fn leg(&mut self, node: usize, leg: LegNumber) -> Option<&mut Leg> {
        self.nodes[node].source()?.leg_mut(leg)
    }

    pub fn state(&self, node: usize, leg: LegNumber) -> Option<State> {
        Some(self.nodes[node].as_source()?.leg(leg)?.machine.state())
    }

    /// Takes an event in, and does what the leg's machine says.
    pub fn fire(&mut self, node: usize, leg: LegNumber, event: Event) -> Step<()> {
        let mut next = Some(event);
        while let Some(event) = next.take() {
            let Some(it) = self.leg(node, leg) else { return Ok(()) };
            let actions = it.machine.on_event(event);
            let state = it.machine.state();
            self.note(|| format!("{node}: leg {}, {event:?} -> {state:?}", leg.id()));
            for action in actions.iter() {
                if let Some(follows) = self.execute(node, leg, action) {
                    next = Some(follows);
                }
            }
        }
        self.pump(node)
    }

    fn execute(&mut self, node: usize, number: LegNumber, action: Action) -> Option<Event> {
        let Active::Source(source) = &mut self.nodes[node].active else {
            return None;
        };
        let place = source.legs.iter().position(|(leg, _)| *leg == number)?;
        let (volume, leg) = (&mut source.volume, &mut source.legs[place].1);
        match action {
            Action::Close => {
                let conn = leg.conn.take();
                let Self { conns, rng, .. } = self;
                if let Some(conn) = conns.iter_mut().find(|it| Some(it.id) == conn) {
                    conn.source_side = false;
                    conn.cut(rng);
                }
            }
            Action::GoLive => {
                return Some(match volume.go_live(number) {
                    Some(true) => Event::LiveClean,
                    Some(false) => Event::LiveDirty,
                    None => Event::Lost,
                });
            }
            Action::Cut => return volume.cut(number).then_some(Event::Drained),
            Action::Abandon => volume.abandon(number),
            Action::StartResync => (leg.copying, leg.begins) = (true, true),
            Action::StopResync => leg.copying = false,
            Action::SendResyncDone => volume.leg_mut(number).say_done(),
            Action::SendPause => volume.leg_mut(number).say(Kind::Pause),
            Action::SendResume => volume.leg_mut(number).say(Kind::Resume),
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

    /// The sending thread of a leg takes a message out, or sends one that it took out; whether there was one.
    pub fn send(&mut self, node: usize, number: LegNumber) -> Step<bool> {
        let Some(source) = self.nodes[node].source() else {
            return Ok(false);
        };
        let Some(conn) = source.leg(number).map(|leg| leg.conn) else {
            return Ok(false);
        };
        let connected = source.leg(number).is_some_and(|leg| leg.machine.state().is_connected());
        let volume = &mut source.volume;
        let taken = volume.leg_mut(number).sending.take();
        let Some(outgoing) = taken.or_else(|| connected.then(|| volume.next_outgoing(number, conn)).flatten()) else {
            return Ok(false);
        };
        if outgoing.ends.is_some() && self.rng.one_in(2) {
            // Something else may happen before it is on record.
            if let Some(source) = self.nodes[node].source() {
                source.volume.leg_mut(number).sending = Some(outgoing);
            }
            return Ok(true);
        }
        if let Some(given) = outgoing.ends {
            // On record before the target is told; where another generation began meanwhile, that is the record.
            self.store(node).change(|sb| {
                if sb.current == given {
                    let peer = &mut sb.peers[number.index()];
                    peer.base = 0;
                    peer.flags.set(PeerFlags::FOLLOWING, false);
                }
            })?;
        }
        self.send_target(outgoing.conn, outgoing.message);
        Ok(true)
    }

    /// The delay is over, or the first attempt begins.
    pub fn connect(&mut self, node: usize, number: LegNumber) -> Step<()> {
        if self.state(node, number) == Some(State::Waiting) {
            self.fire(node, number, Event::Timer)?;
        }
        let Some(source) = self.nodes[node].as_source() else {
            return Ok(());
        };
        let gone = source.volume.local.is_gone() && self.mistake != Some(Mistake::CopiesFromLost);
        let Some(leg) = source
            .leg(number)
            .filter(|leg| leg.machine.state() == State::Connecting)
        else {
            return Ok(());
        };
        let (to, paused) = (leg.to, leg.machine.pause_wanted());
        let door = self.reachable(node, to) && self.nodes[to].role() != Role::Stopped;
        let known = !self.sb(node).peers[number.index()].is_free();
        if gone || !door || (!known && self.is_other_leg(node, number, to)) {
            return self.fire(node, number, Event::ConnectFailed);
        }
        let id = self.open_conn(node, to);
        if let Some(leg) = self.leg(node, number) {
            leg.conn = Some(id);
        }
        self.fire(node, number, Event::Connected)?;
        let flags = HelloFlags::NONE.with(HelloFlags::PAUSED, paused);
        let hello = hello(node, &self.nodes[node], self.sb(node), number, flags);
        self.send_target(Some(id), Message::Hello(Box::new(hello)));
        Ok(())
    }

    /// Whether a machine is the target of another leg already.
    fn is_other_leg(&self, node: usize, number: LegNumber, to: usize) -> bool {
        let peers = LegNumber::all().zip(&self.sb(node).peers);
        let mut others = peers.filter(|(place, peer)| *place != number && !peer.is_free());
        others.any(|(_, peer)| peer.uuid == self.nodes[to].uuid)
    }

    /// A message of the target.
    pub fn source_hears(&mut self, node: usize, leg: LegNumber, message: Message) -> Step<()> {
        let event = match message {
            Message::Welcome(welcome) => return self.welcomed(node, leg, &welcome),
            Message::Refuse(code) => return self.refused(node, leg, code),
            Message::Ack(id) => {
                let known = self.nodes[node]
                    .source()
                    .is_some_and(|source| source.volume.confirmed(leg, id));
                self.has_caught_up(node);
                if !known && self.mistake.is_none() {
                    self.fail(format!("{node}: a confirmation of nothing"));
                }
                return self.pump(node);
            }
            Message::ReadReply { id, version } => {
                let known = self.nodes[node]
                    .source()
                    .is_some_and(|source| source.volume.answered(id, leg, version));
                if !known {
                    self.fail(format!("{node}: an answer to nothing"));
                }
                return self.pump(node);
            }
            Message::Reply {
                to: Kind::ResyncDone, ..
            } => match self.done_noted(node, leg)? {
                Some(event) => event,
                None => return self.pump(node),
            },
            Message::Reply { to: Kind::Pause, .. } => Event::PauseAcked,
            Message::Reply {
                to: Kind::Resume,
                fine: true,
            } => Event::ResumeAcked,
            Message::Reply { to: Kind::Resume, .. } => Event::ResumeRefused,
            Message::Map(word) => {
                let rng = &mut self.rng;
                if let Some((volume, _, store)) = self.nodes[node].volume() {
                    volume.leg_mut(leg).dirty.merge(0, std::iter::once(word));
                    volume.keep_marks(store, rng)?;
                    // Together with that the marks are all it misses.
                    store.change(|sb| sb.peers[leg.index()].flags.set(PeerFlags::RECENT, false))?;
                }
                Event::MapDone
            }
            Message::Bye => Event::Lost,
            other => {
                self.fail(format!("{node}: a target says {other:?}"));
                Event::Lost
            }
        };
        self.fire(node, leg, event)
    }

    /// The target has noted a generation, be it that of the resync.
    fn done_noted(&mut self, node: usize, leg: LegNumber) -> Step<Option<Event>> {
        let state = self.state(node, leg);
        let followed = self.nodes[node]
            .source()
            .is_some_and(|source| source.volume.followed(leg));
        if followed && state == Some(State::Synced) {
            return Ok(None);
        }
        if matches!(state, Some(State::Finishing | State::Pausing | State::PauseSent)) {
            self.store(node).change(|sb| {
                let over = MetaFlags::SPLIT_BRAIN
                    .with(MetaFlags::PREPARED, true)
                    .with(MetaFlags::TOOK_OVER, true);
                sb.flags = sb.flags.without(over);
                sb.peers[leg.index()].flags.set(PeerFlags::FULL, false);
            })?;
            let to = self.leg(node, leg).map_or(0, |leg| leg.to);
            self.nodes[node].truth.mandate &= !(1 << to);
        }
        Ok(Some(Event::DoneAcked))
    }

    fn refused(&mut self, node: usize, leg: LegNumber, code: RefuseCode) -> Step<()> {
        self.note(|| format!("{node}: leg {} is refused, {code:?}", leg.id()));
        if code == RefuseCode::SplitBrain {
            self.counts.forks += 1;
            self.store(node)
                .change(|sb| sb.flags.set(MetaFlags::SPLIT_BRAIN, true))?;
        }
        self.fire(node, leg, Event::Refused)
    }

    fn welcomed(&mut self, node: usize, leg: LegNumber, welcome: &Welcome) -> Step<()> {
        let paused = self.leg(node, leg).is_some_and(|leg| leg.machine.pause_wanted());
        let mut plan = source_decide(&source_facts(self.sb(node), leg, welcome, paused), welcome);
        let shared = self.sb(node).flags.contains(MetaFlags::SHARED);
        let goes_on = self.mistake == Some(Mistake::GoesOnAfterLosing) && !shared;
        if matches!(plan, Plan::Agree(agreement) if agreement.begins && !goes_on) {
            let rng = &mut self.rng;
            if let Some((volume, _, store)) = self.nodes[node].volume() {
                volume.begin_generation(leg, store, rng, |_| {})?;
            }
            // What the target lacks is judged by the generation that is begun.
            plan = source_decide(&source_facts(self.sb(node), leg, welcome, paused), welcome);
        }
        let agreement = match plan {
            Plan::Agree(agreement) => agreement,
            Plan::Refuse(code) => return self.refused(node, leg, code),
        };
        let to = self.leg(node, leg).map_or(0, |leg| leg.to);
        if self.is_other_leg(node, leg, to) {
            return self.fire(node, leg, Event::Refused);
        }
        self.note(|| format!("{node}: leg {}, {agreement:?}", leg.id()));
        self.prepare(node, leg, welcome, &agreement)?;
        let full = agreement.copying == Copying::Everything;
        let facts = source_facts(self.sb(node), leg, welcome, paused);
        let fresh = relation(&facts.mine, &welcome.generations()) == Relation::PeerFresh;
        self.counts.everything += u32::from(full);
        self.counts.needless += u32::from(full && !fresh && !facts.full);
        self.counts.marked += u32::from(!full);
        self.counts.merged += u32::from(agreement.merge_map);
        let greeting = Greeting {
            full,
            target_paused: agreement.merge_map,
        };
        self.fire(node, leg, Event::Welcomed(greeting))
    }

    /// Puts on record what the target misses, and whose marks these are.
    fn prepare(&mut self, node: usize, leg: LegNumber, welcome: &Welcome, agreement: &Agreement) -> Step<()> {
        let rng = &mut self.rng;
        let Some((volume, _, store)) = self.nodes[node].volume() else {
            return Ok(());
        };
        if agreement.copying == Copying::Everything {
            volume.leg_mut(leg).dirty.set_all();
        }
        if agreement.distrust {
            volume.distrust(leg);
        }
        volume.keep_marks(store, rng)?;
        // Half of what it misses is marked, and it tells the other half.
        let is_half = agreement.copying == Copying::Marked && welcome.flags.contains(WelcomeFlags::RECENT);
        store.change(|sb| {
            let peer = &mut sb.peers[leg.index()];
            if peer.uuid != welcome.node_uuid && !(is_half && peer.flags.contains(PeerFlags::RECENT)) {
                peer.base = 0;
            }
            let recent = is_half && peer.flags.contains(PeerFlags::RECENT);
            peer.flags.set(PeerFlags::RECENT, recent);
            peer.uuid = welcome.node_uuid;
            peer.instance = welcome.instance;
            // What it misses is marked now.
            peer.flags.set(PeerFlags::UNKNOWN, false);
        })?;
        let remote = volume.leg_mut(leg);
        (remote.theirs, remote.covered) = (welcome.generation, agreement.covered);
        Ok(())
    }

    /// The resync does one thing, if it has one to do.
    pub fn copy(&mut self, node: usize, number: LegNumber) -> Step<()> {
        let rng = &mut self.rng;
        let Some(source) = self.nodes[node].source() else {
            return Ok(());
        };
        let Some(leg) = source.leg_mut(number).filter(|leg| leg.copying) else {
            return Ok(());
        };
        let begins = std::mem::take(&mut leg.begins);
        let volume = &mut source.volume;
        let failed = std::mem::take(&mut volume.leg_mut(number).copy_failed);
        let lost = volume.local.is_gone() && self.mistake != Some(Mistake::CopiesFromLost);
        if (failed && !begins) || lost {
            return self.fire(node, number, Event::Lost);
        }
        if volume.next_copy(number, rng).is_none() && volume.is_clean(number) {
            return self.fire(node, number, Event::Clean);
        }
        self.pump(node)
    }

    /// A resync whose end was not sent before the disk was given up does not end any more.
    pub fn look_for_disk(&mut self, node: usize, number: LegNumber) -> Step<bool> {
        let volume = self.nodes[node].as_source().map(|source| &source.volume);
        let ends = volume.is_some_and(|volume| volume.local.is_gone() && !volume.live().contains(number));
        if ends {
            self.fire(node, number, Event::Lost)?;
        }
        Ok(ends)
    }

    /// Gives a source the leg that its metadata describes.
    pub fn add_leg(&mut self, node: usize, number: LegNumber) -> Step<()> {
        let peer = self.sb(node).peers[number.index()];
        let Some(to) = at(&peer) else { return Ok(()) };
        let mut machine = Machine::new();
        if peer.flags.contains(PeerFlags::PAUSED) {
            machine.on_event(Event::Pause);
        }
        let leg = Leg {
            machine,
            conn: None,
            copying: false,
            begins: false,
            to,
        };
        let (asynchronous, gives_way) = (self.shape.is_asynchronous(node, to), self.shape.gives_way);
        if let Some(source) = self.nodes[node].source() {
            source.legs.push((number, leg));
            let limit = asynchronous.then_some(LIMIT);
            let remote = source.volume.leg_mut(number);
            remote.lag.set_limit(limit);
            remote.gives_way = asynchronous && gives_way;
        }
        self.fire(node, number, Event::Start)
    }

    /// Takes a leg away, with a goodbye.
    pub fn drop_leg(&mut self, node: usize, number: LegNumber) -> Step<()> {
        let conn = self.leg(node, number).and_then(|leg| leg.conn);
        let connected = self.state(node, number).is_some_and(State::is_connected);
        if connected {
            self.send_target(conn, Message::Bye);
        }
        let said = conn.and_then(|id| self.conn(id)).map(|conn| conn.to_target.clone());
        self.fire(node, number, Event::Stop)?;
        // What is said before a connection is closed in order still arrives.
        if let (Some(conn), Some(said)) = (conn.and_then(|id| self.conn(id)), said) {
            conn.to_target = said;
        }
        if let Some(source) = self.nodes[node].source() {
            source.legs.retain(|(leg, _)| *leg != number);
        }
        Ok(())
    }
}
