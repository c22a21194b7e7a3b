// SPDX-License-Identifier: GPL-2.0

//! Machines with disks of which everything is known: each chunk is the set of the writes that it holds.

use super::greeting;
use netraid_core::generation::{rotate, Generations};
use netraid_core::handshake::{source_decide, target_decide, Agreement, Copying, Plan};
use netraid_core::meta::HISTORY;
use netraid_core::wire::Welcome;

/// Chunks of a disk.
pub(crate) const CHUNKS: usize = 5;

/// Most machines.
pub(crate) const MACHINES: usize = 3;

/// A bit for each write.
pub(crate) type Writes = u128;

/// A bit for each chunk.
pub(crate) type Chunks = u8;

const ALL: Chunks = (1 << CHUNKS) - 1;

/// One machine, with what it keeps on its disk.
#[derive(Clone, Debug, Default)]
pub(crate) struct Machine {
    pub(crate) content: [Writes; CHUNKS],
    pub(crate) current: u64,
    pub(crate) history: [u64; HISTORY],
    pub(crate) base: [u64; MACHINES],
    pub(crate) marks: [Chunks; MACHINES],
    /// The machines it replicates to when it is source.
    pub(crate) known: [bool; MACHINES],
    pub(crate) is_source: bool,
    /// It crashed as source, and was nothing else since.
    pub(crate) was_source: bool,
    /// The source whose resync is not complete.
    pub(crate) inconsistent: Option<usize>,
    pub(crate) yielded: bool,
    /// The source that it had last.
    source: Option<usize>,
    /// It was a target, and others may hold what it holds: its first write or connection begins another generation.
    pub(crate) shared: bool,
    /// What an application wrote in a pause.
    paused_writes: Writes,
}

impl Machine {
    pub(crate) fn generations(&self, peer: usize) -> Generations {
        Generations {
            current: self.current,
            base: self.base[peer],
            history: self.history,
        }
    }

    pub(crate) fn is_usable(&self) -> bool {
        self.current != 0 && self.inconsistent.is_none()
    }
}

/// How a source and a target are connected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Leg {
    #[default]
    None,
    /// An operator paused it.
    Paused,
    Resync,
    InStep,
}

/// What could be forgotten where there are three machines; a test shows that it must not be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mistake {
    /// A source goes on in its generation when a target gives up what it has beyond it, or its disk is another one.
    GoesOnAfterLosing,
    /// Who was a target and becomes source goes on in the generation that others hold, too.
    GoesOnAfterPromotion,
    /// A target that takes over the data of a source keeps a past of its own.
    KeepsItsPast,
}

/// All machines, and what became of the attempts to connect them.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) machines: Vec<Machine>,
    /// By source and target.
    pub(crate) legs: [[Leg; MACHINES]; MACHINES],
    last_generation: u64,
    last_write: u32,
    /// Writes that an application was told of, as done on a source.
    pub(crate) promised: Writes,
    /// What was copied when a source and a target agreed.
    pub(crate) copyings: [u32; 3],
    pub(crate) refusals: u32,
    pub(crate) mistake: Option<Mistake>,
}

impl World {
    /// A new mirror, with its first machine as source.
    pub(crate) fn new(machines: usize) -> Self {
        let mut world = Self {
            machines: vec![Machine::default(); machines],
            legs: Default::default(),
            last_generation: 0,
            last_write: 0,
            promised: 0,
            copyings: [0; 3],
            refusals: 0,
            mistake: None,
        };
        world.format(0);
        world
    }

    pub(crate) fn len(&self) -> usize {
        self.machines.len()
    }

    /// More than one target needs rules of its own, see the documentation of the test.
    pub(crate) fn has_more_targets(&self) -> bool {
        self.len() > 2
    }

    fn next_write(&mut self) -> Option<Writes> {
        self.last_write += 1;
        1u128.checked_shl(self.last_write)
    }

    fn is_live(&self, source: usize, target: usize) -> bool {
        matches!(self.legs[source][target], Leg::Resync | Leg::InStep)
    }

    pub(crate) fn others(&self, machine: usize) -> impl Iterator<Item = usize> {
        (0..self.len()).filter(move |&other| other != machine)
    }

    /// A machine gets another disk. It is a target until it is formatted.
    pub(crate) fn replace_disk(&mut self, machine: usize) {
        self.hang_up(machine);
        self.machines[machine] = Machine::default();
    }

    /// Makes a source with a disk that nobody else has.
    pub(crate) fn format(&mut self, machine: usize) {
        let Some(write) = self.next_write() else { return };
        self.replace_disk(machine);
        self.promised |= write;
        self.last_generation += 1;
        self.machines[machine] = Machine {
            content: [write; CHUNKS],
            current: self.last_generation,
            known: [true; MACHINES],
            is_source: true,
            ..Machine::default()
        };
    }

    /// Ends every connection of a machine.
    fn hang_up(&mut self, machine: usize) {
        for other in 0..MACHINES {
            self.legs[machine][other] = Leg::None;
            self.legs[other][machine] = Leg::None;
        }
    }

    /// Begins another generation on a source.
    fn part(&mut self, source: usize) {
        self.last_generation += 1;
        let next = self.last_generation;
        let it = &mut self.machines[source];
        it.shared = false;
        rotate(&mut it.current, &mut it.history, next);
        for target in self.others(source) {
            if self.is_live(source, target) {
                let it = &mut self.machines[target];
                rotate(&mut it.current, &mut it.history, next);
            }
        }
    }

    /// Begins another generation on a source that nobody missed anything of.
    fn begin(&mut self, source: usize) {
        for target in self.others(source) {
            let live = self.legs[source][target] != Leg::None;
            let it = &mut self.machines[source];
            if it.known[target] && it.base[target] == 0 && !live {
                it.base[target] = it.current;
            }
        }
        self.part(source);
    }

    /// Notes what the machines hold that miss what comes now, where they were in step so far.
    fn note_bases(&mut self, source: usize, misses: impl Fn(&Self, usize) -> bool) {
        let parting = |world: &Self, target| {
            let it = &world.machines[source];
            it.known[target] && it.base[target] == 0 && misses(world, target)
        };
        let targets: Vec<_> = self.others(source).filter(|&it| parting(self, it)).collect();
        for &target in &targets {
            self.machines[source].base[target] = self.machines[source].current;
        }
        if self.machines[source].shared {
            self.begin(source);
        } else if !targets.is_empty() {
            self.part(source);
        }
    }

    /// An application writes to a source, or, in a pause, to a target.
    pub(crate) fn write(&mut self, machine: usize, chunk: usize) {
        let paused = self.others(machine).any(|it| self.legs[it][machine] == Leg::Paused);
        let is_source = self.machines[machine].is_source;
        let may_write = is_source || (paused && self.machines[machine].is_usable());
        if !may_write {
            return;
        }
        let Some(write) = self.next_write() else { return };
        if is_source {
            self.note_bases(machine, |world, target| !world.is_live(machine, target));
            self.promised |= write;
        } else {
            self.machines[machine].paused_writes |= write;
        }
        self.machines[machine].content[chunk] |= write;
        for other in self.others(machine) {
            if is_source && self.is_live(machine, other) {
                self.machines[other].content[chunk] |= write;
            } else {
                self.machines[machine].marks[other] |= 1 << chunk;
            }
        }
    }

    /// A source crashes with a write under way, that reached the disks of some. Its intent log goes into all its maps.
    pub(crate) fn crash(&mut self, source: usize, chunk: usize, reached: usize) {
        if !self.machines[source].is_source {
            return;
        }
        let Some(write) = self.next_write() else { return };
        if self.machines[source].shared {
            self.begin(source);
        }
        for machine in 0..self.len() {
            let told = machine == source || self.is_live(source, machine);
            if told && reached >> machine & 1 == 1 {
                self.machines[machine].content[chunk] |= write;
            }
        }
        self.machines[source].marks.iter_mut().for_each(|it| *it |= 1 << chunk);
        self.stop(source);
        self.machines[source].was_source = true;
    }

    /// Takes a machine out of service, whatever it is.
    fn stop(&mut self, machine: usize) {
        self.machines[machine].is_source = false;
        self.hang_up(machine);
    }

    /// Makes a source a target, which gives its data up where an operator says so.
    pub(crate) fn demote(&mut self, machine: usize, yields: bool) {
        self.stop(machine);
        let it = &mut self.machines[machine];
        (it.was_source, it.yielded) = (false, yields);
    }

    /// An operator makes a machine source, whatever the others hold.
    pub(crate) fn promote(&mut self, machine: usize) {
        if self.machines[machine].is_source || !self.machines[machine].is_usable() {
            return;
        }
        self.hang_up(machine);
        let it = &mut self.machines[machine];
        let was_source = it.was_source;
        (it.is_source, it.was_source, it.yielded) = (true, false, false);
        self.promised |= it.paused_writes;
        if was_source {
            return;
        }
        let last = it.source;
        it.shared = self.mistake != Some(Mistake::GoesOnAfterPromotion);
        // What it wrote in a pause counts as the first write that its source misses.
        let wrote = last.filter(|last| it.marks[*last] != 0);
        if let Some(last) = wrote.filter(|last| it.base[*last] == 0) {
            it.base[last] = it.current;
            self.part(machine);
        }
        for other in self
            .others(machine)
            .filter(|other| last.is_some_and(|last| last != *other))
        {
            self.machines[machine].marks[other] = ALL;
        }
    }

    /// A connection is lost.
    pub(crate) fn lose(&mut self, source: usize, target: usize) {
        self.legs[source][target] = Leg::None;
    }

    pub(crate) fn pause(&mut self, source: usize, target: usize) {
        if self.legs[source][target] == Leg::InStep {
            self.legs[source][target] = Leg::Paused;
        }
    }

    /// A source forgets a target, and may get to know it again.
    pub(crate) fn extend(&mut self, source: usize, target: usize, on: bool) {
        if !self.machines[source].is_source || self.machines[source].known[target] == on {
            return;
        }
        if !on {
            self.legs[source][target] = Leg::None;
            self.machines[source].base[target] = 0;
            self.machines[source].marks[target] = 0;
            self.part(source);
        }
        self.machines[source].known[target] = on;
    }

    /// A source connects to a target.
    pub(crate) fn connect(&mut self, source: usize, target: usize) {
        let taken = (0..self.len()).any(|it| self.is_live(it, target));
        let is_pair = self.machines[source].is_source && !self.machines[target].is_source;
        if taken || !is_pair || !self.machines[source].known[target] {
            return;
        }
        let hello = greeting::hello(&self.machines[source].generations(target));
        if target_decide(&greeting::target_facts(&self.machines[target], source), &hello).is_err() {
            self.refusals += 1;
            return;
        }
        let it = &mut self.machines[target];
        if it.inconsistent.is_some_and(|began| began != source) {
            rotate(&mut it.current, &mut it.history, 0);
        }
        let welcome = greeting::welcome(&self.machines[target], source);
        let mut agreement = self.agree(source, target, &welcome);
        self.check_nothing_is_lost(source, target);
        let goes_on = self.mistake == Some(Mistake::GoesOnAfterLosing) && !self.machines[source].shared;
        if agreement.begins && !goes_on {
            self.begin(source);
            agreement = self.agree(source, target, &welcome);
        }
        self.copyings[agreement.copying as usize] += 1;
        self.note_source(target, source);
        let theirs = self.machines[target].marks[source];
        let held = self.machines[target].current;
        let it = &mut self.machines[source];
        it.marks[target] |= if agreement.copying == Copying::Everything {
            ALL
        } else {
            0
        };
        it.marks[target] |= if agreement.merge_map { theirs } else { 0 };
        let current = it.current;
        let equal = it.marks[target] == 0 && (held == it.current || agreement.covered);
        // Whoever was its source before has lost it.
        self.legs.iter_mut().for_each(|legs| legs[target] = Leg::None);
        self.legs[source][target] = Leg::InStep;
        let nothing_new = equal && held == current && self.machines[target].inconsistent.is_none();
        if nothing_new {
            self.machines[source].base[target] = 0;
            self.machines[target].yielded = false;
            return;
        }
        self.begin_resync(source, target);
        if equal {
            self.finish(source, target, false);
        }
    }

    fn agree(&self, source: usize, target: usize, welcome: &Welcome) -> Agreement {
        let facts = greeting::source_facts(&self.machines[source], target);
        match source_decide(&facts, welcome) {
            Plan::Agree(agreement) => agreement,
            Plan::Refuse(code) => panic!("the source refuses what the target accepted ({code}): {self}"),
        }
    }

    /// A target has another source, or the same again; what it noted of others as a source is of the past.
    fn note_source(&mut self, target: usize, source: usize) {
        let it = &mut self.machines[target];
        (it.known[source], it.source) = (true, Some(source));
        let base = it.base[source];
        it.base = [0; MACHINES];
        it.base[source] = base;
    }

    fn begin_resync(&mut self, source: usize, target: usize) {
        self.legs[source][target] = Leg::Resync;
        let from = self.machines[source].clone();
        let keeps_its_past = self.mistake == Some(Mistake::KeepsItsPast);
        let it = &mut self.machines[target];
        it.inconsistent = Some(source);
        (it.base, it.marks, it.was_source) = ([0; MACHINES], [0; MACHINES], false);
        rotate(&mut it.current, &mut it.history, from.current);
        if !keeps_its_past {
            it.history = from.history;
        }
    }

    /// A resync goes on by one chunk.
    pub(crate) fn copy(&mut self, source: usize, target: usize, chunk: usize) {
        if self.legs[source][target] == Leg::Resync && self.machines[source].marks[target] >> chunk & 1 == 1 {
            self.machines[target].content[chunk] = self.machines[source].content[chunk];
            self.machines[source].marks[target] &= !(1 << chunk);
        }
    }

    /// A resync ends; where the connection is lost then, the target does not get to know.
    pub(crate) fn finish(&mut self, source: usize, target: usize, lost: bool) {
        if self.legs[source][target] != Leg::Resync {
            return;
        }
        (0..CHUNKS).for_each(|chunk| self.copy(source, target, chunk));
        self.machines[source].base[target] = 0;
        self.legs[source][target] = if lost { Leg::None } else { Leg::InStep };
        if !lost {
            let it = &mut self.machines[target];
            (it.inconsistent, it.yielded) = (None, false);
        }
    }
}
