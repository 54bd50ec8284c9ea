//! Writes the manual pages and completions of `hueflow-bridge` and `hueflow-metrics` into a folder, for their packages.
//!
//! `deploy/package` runs it on the machine that builds. It is no part of the programs.

#[path = "../../deploy/debian/pages.rs"]
mod pages;

use clap::CommandFactory;

const BRIDGE: &str = r#"
.SH FILES
.TP
/etc/hueflow/bridge.toml
The configuration, unless \fB\-\-config\fR names another. \fBhueflow\-bridge print\-config\fR shows every key.
.TP
/var/lib/hueflow
The local journal, when started by systemd as packaged.
.SH ENVIRONMENT
.TP
HUEFLOW_BRIDGE__SECTION__KEY
Any key of the configuration, over the file and under the flags: HUEFLOW_BRIDGE__MQTT__URL is \fBurl\fR of \fB[mqtt]\fR.
.TP
RUST_LOG
What is logged, on standard error.
.SH "EXIT STATUS"
0 all well, 2 a wrong command line, 66 no input, 69 something that is needed is unavailable, 74 input or output failed,
78 a wrong configuration.
.PP
SIGINT and SIGTERM stop \fBrun\fR cleanly.
.SH EXAMPLES
.nf
hueflow\-bridge run \-\-mqtt embedded:1883 \-\-journal local:journal.sqlite
hueflow\-bridge run \-\-mqtt mqtt://127.0.0.1:1883 \-\-journal kafka://127.0.0.1:9092
hueflow\-bridge run \-\-mqtt mqtts://hueflow\-bridge@broker.lan \-\-journal kafka+ssl://hueflow@kafka.lan:9093
.fi
.SH "SEE ALSO"
\fBhueflow\-edge\fR(1), \fBhueflow\-metrics\fR(1), /usr/share/doc/hueflow\-bridge/README.md
"#;

const METRICS: &str = r#"
.SH FILES
.TP
/etc/hueflow/metrics.toml
The configuration, unless \fB\-\-config\fR names another. \fBhueflow\-metrics print\-config\fR shows every key.
.TP
/var/lib/hueflow
The store, and the local journal, when started by systemd as packaged.
.SH ENVIRONMENT
.TP
HUEFLOW_METRICS__SECTION__KEY
Any key of the configuration, over the file and under the flags: HUEFLOW_METRICS__WEB__LISTEN is \fBlisten\fR of
\fB[web]\fR.
.TP
RUST_LOG
What is logged, on standard error.
.SH "EXIT STATUS"
0 all well, 2 a wrong command line, 66 no input, 69 something that is needed is unavailable, 74 input or output failed,
78 a wrong configuration.
.PP
SIGINT and SIGTERM stop \fBrun\fR and \fBtail\fR cleanly.
.SH EXAMPLES
.nf
hueflow\-metrics run \-\-journal local:journal.sqlite \-\-store store.sqlite
hueflow\-metrics silhouette \-\-image photo.png \-\-labels labels/000000.png \-\-out knife.svg
.fi
.SH "SEE ALSO"
\fBhueflow\-edge\fR(1), \fBhueflow\-bridge\fR(1), /usr/share/doc/hueflow\-metrics/README.md
"#;

fn main() -> std::io::Result<()> {
    let dir = std::env::args_os().nth(1).ok_or(std::io::ErrorKind::InvalidInput)?;
    pages::write(hueflow_bridge::cli::Bridge::command(), BRIDGE, dir.as_ref())?;
    pages::write(hueflow_bridge::cli::Metrics::command(), METRICS, dir.as_ref())
}
