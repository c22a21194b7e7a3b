// SPDX-License-Identifier: GPL-2.0
//! The host's end of the virtio-serial port: requests to a machine's agent and its answers.

use std::{
    collections::HashMap,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::net::UnixStream,
    sync::{
        atomic::{AtomicU64, Ordering},
        mpsc::{channel, Receiver, RecvTimeoutError, Sender},
        Arc, Mutex, PoisonError,
    },
    thread,
    time::Duration,
};

use anyhow::{bail, Context as _, Result};
use netraid_guest::proto::{Event, Message, Op, Request};

type Waiting = Arc<Mutex<Option<HashMap<u64, Sender<Event>>>>>;

/// A connection to one run of a machine; it ends with that run.
#[derive(Debug)]
pub(crate) struct Rpc {
    stream: Mutex<UnixStream>,
    /// Who waits for which answer; nothing once the machine is gone.
    waiting: Waiting,
    next: AtomicU64,
}

/// Answers to one request.
#[derive(Debug)]
pub(crate) struct Answers {
    /// Number of the request.
    pub(crate) id: u64,
    events: Receiver<Event>,
}

impl Answers {
    /// The next answer; an error when none comes in time or the machine is gone.
    pub(crate) fn next(&self, timeout: Duration) -> Result<Event> {
        match self.events.recv_timeout(timeout) {
            Ok(Event::Error { text }) => bail!("{text}"),
            Ok(event) => Ok(event),
            Err(RecvTimeoutError::Timeout) => bail!("no answer within {timeout:?}"),
            Err(RecvTimeoutError::Disconnected) => bail!("the machine is off"),
        }
    }
}

impl Rpc {
    /// Takes over the connection; answers to request 0 (the greeting) come out of the result.
    pub(crate) fn new(stream: UnixStream) -> Result<(Self, Answers)> {
        let (greeter, events) = channel();
        let waiting: Waiting = Arc::new(Mutex::new(Some(HashMap::from([(0, greeter)]))));
        let reader = stream.try_clone().context("clone the connection to the agent")?;
        let shared = Arc::clone(&waiting);
        thread::spawn(move || {
            dispatch(reader, &shared);
            // Dropping the senders wakes everybody who waits for an answer.
            *shared.lock().unwrap_or_else(PoisonError::into_inner) = None;
        });
        let rpc = Self {
            stream: Mutex::new(stream),
            waiting,
            next: AtomicU64::new(1),
        };
        Ok((rpc, Answers { id: 0, events }))
    }

    /// Sends a request.
    pub(crate) fn send(&self, op: Op) -> Result<Answers> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, events) = channel();
        match self.waiting.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            Some(waiting) => waiting.insert(id, sender),
            None => bail!("the machine is off"),
        };
        let mut line = serde_json::to_vec(&Request { id, op })?;
        line.push(b'\n');
        let mut stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
        stream.write_all(&line).context("the machine takes no request")?;
        Ok(Answers { id, events })
    }

    /// Sends a request and waits for its one answer.
    pub(crate) fn call(&self, op: Op, timeout: Duration) -> Result<Event> {
        let answers = self.send(op)?;
        let answer = answers.next(timeout);
        self.forget(answers.id);
        answer
    }

    /// Throws away what still comes for a request.
    pub(crate) fn forget(&self, id: u64) {
        if let Some(waiting) = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            waiting.remove(&id);
        }
    }
}

fn dispatch(stream: UnixStream, waiting: &Waiting) {
    for line in BufReader::new(stream).lines() {
        // An error is the end of the machine, as the end of the stream is.
        let Ok(line) = line else { return };
        let message: Message = match serde_json::from_str(&line) {
            Ok(message) => message,
            Err(error) => {
                eprintln!("a machine sent something that is no message: {line:?}: {error}");
                continue;
            }
        };
        let waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = waiting.as_ref().and_then(|waiting| waiting.get(&message.id)) {
            // Who no longer waits has given up on the answer.
            let _given_up = sender.send(message.event);
        }
    }
}
