//! Harness: starts the real binaries, brokers and Kafka on free loopback ports.
