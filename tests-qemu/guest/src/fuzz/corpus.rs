// SPDX-License-Identifier: GPL-2.0
//! Messages to begin with, one of each kind, which the fuzz targets of `netraid_core` begin with as well.

macro_rules! corpus {
    ($($name:literal)+) => {
        /// Every message of the corpus.
        pub(super) const ALL: &[&[u8]] = &[$(include_bytes!(concat!(
            "../../../../kmod/core/fuzz/corpus/message_decode/",
            $name
        ))),+];
    };
}

corpus! {
    "hello" "hello-0" "hello-ask" "welcome" "welcome-0" "welcome-map" "refuse" "write" "write-fua" "flush" "discard"
    "zeroes" "ack" "acks" "ping" "pong" "resync-start" "resync-done" "pause" "resume" "reply" "reply-refused" "map"
    "map-last" "bye" "read" "read-reply" "takeover"
}
