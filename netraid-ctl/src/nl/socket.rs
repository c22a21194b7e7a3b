// SPDX-License-Identifier: GPL-2.0
//! The real netlink socket.

use std::io;
use std::time::{Duration, Instant};

use netlink_sys::{protocols::NETLINK_GENERIC, Socket, SocketAddr};
use rustix::event::{poll, PollFd, PollFlags, Timespec};

use super::{Kernel, Transport};

/// Room for events that come faster than they are read, bytes.
const RECEIVE_BUFFER: usize = 1 << 20;

/// The running kernel.
#[derive(Debug, Clone, Copy, Default)]
pub struct Netlink;

impl Kernel for Netlink {
    fn open(&self) -> io::Result<Box<dyn Transport>> {
        let mut socket = Socket::new(NETLINK_GENERIC)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        // Refusals with a sentence, without the whole request echoed, and requests checked to the letter.
        socket.set_ext_ack(true)?;
        socket.set_cap_ack(true)?;
        socket.set_netlink_get_strict_chk(true)?;
        // A smaller buffer than asked for only makes a new snapshot more likely.
        socket.set_rx_buf_sz(i32::try_from(RECEIVE_BUFFER).unwrap_or(i32::MAX))?;
        socket.set_non_blocking(true)?;
        Ok(Box::new(NetlinkSocket { socket }))
    }
}

struct NetlinkSocket {
    socket: Socket,
}

impl Transport for NetlinkSocket {
    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let sent = self.socket.send(bytes, 0)?;
        if sent == bytes.len() {
            Ok(())
        } else {
            Err(io::Error::new(
                io::ErrorKind::WriteZero,
                "the kernel took a part of the request only",
            ))
        }
    }

    fn receive(&mut self, timeout: Duration) -> io::Result<Option<Vec<u8>>> {
        let start = Instant::now();
        loop {
            let left = timeout.saturating_sub(start.elapsed());
            let ready = wait_readable(&self.socket, left)?;
            if ready {
                match self.socket.recv_from_full() {
                    Ok((bytes, from)) if from.port_number() == 0 => return Ok(Some(bytes)),
                    // Only the kernel is believed, not another process that sends to this socket.
                    Ok(_) => {}
                    Err(error) if is_transient(&error) => {}
                    Err(error) => return Err(error),
                }
            }
            if start.elapsed() >= timeout {
                return Ok(None);
            }
        }
    }

    fn join(&mut self, group: u32) -> io::Result<()> {
        self.socket.add_membership(group)
    }
}

fn is_transient(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// Whether there is something to read (or an error to collect) before the time is over.
fn wait_readable(socket: &Socket, left: Duration) -> io::Result<bool> {
    let mut fds = [PollFd::new(socket, PollFlags::IN)];
    let left = Timespec::try_from(left).ok();
    match poll(&mut fds, left.as_ref()) {
        Ok(ready) => Ok(ready > 0),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
