//! Support that the edge and the server side's programs share.
//!
//! [`tls`] reads certificates, [`broker`] says what is wrong with a connection to an MQTT broker, [`check`] has the lines of
//! `doctor`, and [`exit`] the exit codes. Nothing here knows cameras, MQTT sessions or Kafka, and nothing is logged.

pub mod broker;
pub mod check;
pub mod exit;
pub mod tls;
