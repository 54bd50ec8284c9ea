//! Receiver: the bridge's half of custody.
/// Placeholder until the state machine lands.
pub struct Receiver;
