// SPDX-License-Identifier: GPL-2.0
//! Addresses as people write them: `10.0.0.2`, `10.0.0.2:7900`, `fd00::2`, `[fd00::2]:7900`, `[fe80::2%eth1]:7900`,
//! `adam`, `adam:7900`, and for a place to listen also `:7900`.

use std::net::{IpAddr, Ipv6Addr};

use anyhow::{anyhow, Context as _, Result};

use crate::disk::Host;
use crate::error::Failure;
use crate::model::Endpoint;

/// The port when none is written.
pub const DEFAULT_PORT: u16 = 7900;

/// The address to connect to.
///
/// # Errors
///
/// When the text is no address (wrong usage), or a name in it is not known to this machine.
pub fn target(host: &dyn Host, text: &str) -> Result<Endpoint> {
    let endpoint = parse(host, text)?;
    if endpoint.ip.is_unspecified() {
        return Err(usage(text, "it names no machine"));
    }
    Ok(endpoint)
}

/// The address to listen on.
///
/// # Errors
///
/// As [`target`].
pub fn listen(host: &dyn Host, text: &str) -> Result<Endpoint> {
    match text.strip_prefix(':').or_else(|| text.strip_prefix("*:")) {
        Some(number) if !number.starts_with(':') => {
            let ip = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
            Ok(Endpoint {
                ip,
                port: port(text, number)?,
                scope: 0,
            })
        }
        _ => parse(host, text),
    }
}

fn usage(text: &str, why: &str) -> anyhow::Error {
    anyhow!(Failure::Usage(format!(
        "`{text}` is no address: {why}; write NAME, 10.0.0.2, fd00::2, each with :PORT after it if it is not \
         {DEFAULT_PORT}, and an IPv6 address with a port as [fd00::2]:PORT"
    )))
}

fn port(text: &str, number: &str) -> Result<u16> {
    match number.parse() {
        Ok(port) if port > 0 => Ok(port),
        _ => Err(usage(text, &format!("`{number}` is no port from 1 to 65535"))),
    }
}

fn parse(host: &dyn Host, text: &str) -> Result<Endpoint> {
    let (machine, port) = split(text)?;
    let (address, interface) = match machine.split_once('%') {
        Some((address, interface)) => (address, Some(interface)),
        None => (machine, None),
    };
    let ip = match address.parse::<IpAddr>() {
        Ok(ip) => ip,
        Err(_) if interface.is_some() || address.contains(':') || looks_numeric(address) => {
            return Err(usage(
                text,
                &format!("`{address}` is neither an IPv4 nor an IPv6 address"),
            ))
        }
        Err(_) => resolve(host, address)?,
    };
    let scope = match interface {
        Some(interface) => scope(host, text, ip, interface)?,
        None if is_link_local(ip) => {
            return Err(usage(
                text,
                "a link-local address needs its interface, as in fe80::2%eth1",
            ));
        }
        None => 0,
    };
    Ok(Endpoint { ip, port, scope })
}

/// The machine and the port.
fn split(text: &str) -> Result<(&str, u16)> {
    if let Some(rest) = text.strip_prefix('[') {
        let (machine, rest) = rest
            .split_once(']')
            .ok_or_else(|| usage(text, "the bracket is not closed"))?;
        return match rest.strip_prefix(':') {
            Some(number) => Ok((machine, port(text, number)?)),
            None if rest.is_empty() => Ok((machine, DEFAULT_PORT)),
            None => Err(usage(text, "something other than :PORT follows the bracket")),
        };
    }
    let (machine, port) = match text.split_once(':') {
        // More than one colon: an IPv6 address without a port.
        Some((_, rest)) if rest.contains(':') => (text, DEFAULT_PORT),
        Some((machine, number)) => (machine, port(text, number)?),
        None => (text, DEFAULT_PORT),
    };
    if machine.is_empty() {
        return Err(usage(text, "it names no machine"));
    }
    Ok((machine, port))
}

/// Resolvers take such things for old ways to write an IPv4 address, which nobody means.
fn looks_numeric(machine: &str) -> bool {
    machine.chars().all(|c| c.is_ascii_digit() || c == '.')
}

const fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(_) => false,
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

fn scope(host: &dyn Host, text: &str, ip: IpAddr, interface: &str) -> Result<u32> {
    if !is_link_local(ip) {
        return Err(usage(
            text,
            "only a link-local IPv6 address (fe80::...) has an interface",
        ));
    }
    match host.interface(interface) {
        Ok(index) => Ok(index),
        // The number itself is as good as the name.
        Err(error) => interface.parse().ok().filter(|&index| index > 0).ok_or_else(|| {
            anyhow!("there is no network interface `{interface}` (in `{text}`): {error}; `ip link` lists them")
        }),
    }
}

fn resolve(host: &dyn Host, name: &str) -> Result<IpAddr> {
    let addresses = host.resolve(name).with_context(|| {
        format!("the host name `{name}` cannot be resolved; write its address or enter it in /etc/hosts")
    })?;
    let usable = addresses
        .into_iter()
        .find(|&ip| !is_link_local(ip) && !ip.is_unspecified());
    usable.ok_or_else(|| anyhow!("the host name `{name}` has no usable address; write the address itself"))
}
