// SPDX-License-Identifier: GPL-2.0

//! How often what happened, to see that the histories are eventful.

macro_rules! counts {
    ($($(#[$doc:meta])* $name:ident,)+) => {
        #[derive(Clone, Copy, Debug, Default)]
        pub struct Counts {
            $($(#[$doc])* pub $name: u32,)+
        }

        impl Counts {
            pub fn add(&mut self, other: &Self) {
                $(self.$name += other.$name;)+
            }
        }
    };
}

counts! {
    /// Greetings after which everything is copied.
    everything,
    /// The same, of what was related, and nobody had asked for it.
    needless,
    marked,
    merged,
    done,
    sources,
    /// Targets that were in step when they became the source.
    warm,
    yields,
    forks,
    switched,
    pauses,
    acknowledged,
    /// Acknowledged while two targets or more were in step.
    threefold,
    /// Acknowledged before an asynchronous target had it.
    early,
    /// Asynchronous targets that could not keep up.
    fallen_behind,
    /// What asynchronous targets lacked of that when they became the source.
    left_behind,
    given_up,
    without_disk,
    rebuilt,
}
