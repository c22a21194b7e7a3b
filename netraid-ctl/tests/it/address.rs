// SPDX-License-Identifier: GPL-2.0
//! Addresses as people write them.

use netraid_ctl::addr::{listen, target};
use netraid_ctl::error::{status_of, Status};

use crate::machine::Machine;

#[test]
fn every_form_of_an_address_is_understood() {
    let machine = Machine::default();
    let forms = [
        ("10.0.0.2", "10.0.0.2:7900"),
        ("10.0.0.2:1", "10.0.0.2:1"),
        ("fd00::2", "[fd00::2]:7900"),
        ("[fd00::2]", "[fd00::2]:7900"),
        ("[fd00::2]:65535", "[fd00::2]:65535"),
        ("fe80::2%eth1", "[fe80::2%3]:7900"),
        ("[fe80::2%eth1]:80", "[fe80::2%3]:80"),
        ("fe80::2%9", "[fe80::2%9]:7900"),
        ("::ffff:10.0.0.2", "[::ffff:10.0.0.2]:7900"),
        ("adam", "10.0.0.2:7900"),
        ("adam:8000", "10.0.0.2:8000"),
    ];
    for (text, meant) in forms {
        assert_eq!(target(&machine, text).unwrap().to_string(), meant, "{text}");
    }
}

#[test]
fn a_place_to_listen_may_be_every_address() {
    let machine = Machine::default();
    for (text, meant) in [
        (":8000", "[::]:8000"),
        ("*:8000", "[::]:8000"),
        ("::", "[::]:7900"),
        ("[::]:8000", "[::]:8000"),
        ("0.0.0.0", "0.0.0.0:7900"),
        ("10.0.0.2:8000", "10.0.0.2:8000"),
    ] {
        assert_eq!(listen(&machine, text).unwrap().to_string(), meant, "{text}");
    }
}

#[test]
fn what_is_no_address_is_wrong_usage_with_the_reason() {
    let machine = Machine::default();
    for (text, reason) in [
        ("", "it names no machine"),
        (":7900", "it names no machine"),
        ("0.0.0.0", "it names no machine"),
        ("[::]:7900", "it names no machine"),
        ("adam:", "`` is no port"),
        ("adam:0", "`0` is no port"),
        ("10.0.0.2:65536", "`65536` is no port"),
        ("10.0.0", "neither an IPv4 nor an IPv6 address"),
        ("10.0.0.256", "neither an IPv4 nor an IPv6 address"),
        ("1:2:3", "neither an IPv4 nor an IPv6 address"),
        ("[fd00::2", "the bracket is not closed"),
        ("[fd00::2]7900", "something other than :PORT"),
        ("fe80::2", "needs its interface"),
        ("10.0.0.2%eth1", "only a link-local IPv6 address"),
    ] {
        let error = target(&machine, text).unwrap_err();
        assert_eq!(status_of(&error), Some(Status::Usage), "{text}");
        assert!(error.to_string().contains(reason), "{text}: {error}");
    }
}

#[test]
fn names_that_the_machine_does_not_know_are_named() {
    let machine = Machine::default();
    let error = target(&machine, "pluto").unwrap_err();
    assert_eq!(status_of(&error), Some(Status::Refused));
    assert!(
        error.to_string().contains("the host name `pluto` cannot be resolved"),
        "{error}"
    );
    let error = target(&machine, "fe80::2%wlan0").unwrap_err();
    assert!(
        error.to_string().contains("there is no network interface `wlan0`"),
        "{error}"
    );
}
