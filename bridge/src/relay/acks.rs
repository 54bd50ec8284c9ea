//! MQTT's acknowledgements on their way to the socket, many to one write.
//!
//! Packet ids come in the order of receipt. The first is returned to the caller, the others when that one has been written.
//! At most 65,535 wait, two bytes each, because there are no more packet ids. None leaves out of order, and none of an old
//! connection.

use std::num::NonZeroU16;
use std::sync::{Mutex, MutexGuard, PoisonError};

#[derive(Debug, Default)]
struct State {
    /// The acknowledgement that is sent through the client's own queue, which wakes the writer.
    ahead: Option<NonZeroU16>,
    waiting: Vec<NonZeroU16>,
}

/// What waits for the socket.
#[derive(Debug, Default)]
pub struct Acks(Mutex<State>);

impl Acks {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes one, if its connection is still `current`. With none ahead of it, it is `send` that takes it.
    ///
    /// # Errors
    /// Those of `send`; then it is not taken.
    pub fn push<E>(
        &self,
        packet: NonZeroU16,
        current: impl FnOnce() -> bool,
        send: impl FnOnce() -> Result<(), E>,
    ) -> Result<(), E> {
        let mut state = self.state();
        if !current() {
            return Ok(()); // The broker delivers it again on the new connection.
        }
        if state.ahead.is_some() {
            state.waiting.push(packet);
        } else {
            send()?;
            state.ahead = Some(packet);
        }
        Ok(())
    }

    /// `packet` has been written: those behind it, if it is the one that went ahead.
    pub fn behind(&self, packet: u16) -> Vec<NonZeroU16> {
        let mut state = self.state();
        if state.ahead.is_none_or(|a| a.get() != packet) {
            return Vec::new();
        }
        state.ahead = None;
        std::mem::take(&mut state.waiting)
    }

    /// The connection is gone, and they mean nothing any more.
    pub fn forget(&self) {
        *self.state() = State::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_goes_ahead_and_the_rest_follows_it_in_order() {
        let (acks, mut sent) = (Acks::default(), Vec::new());
        let id = |n| NonZeroU16::new(n).unwrap();
        let mut push = |n| {
            acks.push(
                id(n),
                || n != 9,
                || {
                    sent.extend((n != 8).then_some(n));
                    if n == 8 { Err(()) } else { Ok(()) }
                },
            )
        };
        assert_eq!(push(8), Err(()), "it is tried again by who has it");
        assert_eq!([push(9), push(1), push(3), push(2)], [Ok(()); 4]);
        assert_eq!(acks.behind(7), []);
        assert_eq!(acks.behind(1), [id(3), id(2)]);
        assert_eq!(acks.behind(1), []);
        assert_eq!([push(4), push(5)], [Ok(()); 2]);
        acks.forget();
        assert_eq!(acks.behind(4), []);
        assert_eq!(push(6), Ok(()));
        assert_eq!(sent, [1, 4, 6]);
    }
}
