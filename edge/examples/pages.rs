//! Writes `hueflow-edge`'s manual page and completions into a folder, for its package.
//!
//! The input is the folder, the results are the files. deploy/package runs it on the machine that builds, so that the program
//! itself does not carry this code.

#[path = "../../deploy/debian/pages.rs"]
mod pages;

const SECTIONS: &str = r#"
.SH FILES
.TP
/etc/hueflow/edge.toml
The configuration, unless \fB\-\-config\fR names another. \fBhueflow\-edge print\-config \-\-all\fR shows every key.
.TP
/var/lib/hueflow\-edge
The spool, when started by systemd with a broker or a spool.dir in the configuration.
.SH ENVIRONMENT
.TP
HUEFLOW_EDGE__SECTION__KEY
Any key of the configuration, over the file and under the flags: HUEFLOW_EDGE__MQTT__URL is \fBurl\fR of \fB[mqtt]\fR.
.TP
RUST_LOG
What is logged, on standard error: \fBinfo\fR unless it says otherwise.
.SH "EXIT STATUS"
0 all well, 2 a wrong command line, 66 no input, 69 something that is needed is unavailable, 74 input or output failed,
78 a wrong configuration.
.PP
SIGINT, SIGTERM, SIGHUP, and Esc in a window or terminal, stop \fBrun\fR cleanly. Signals within a second are one; a later
one ends it at once.
.SH EXAMPLES
.nf
hueflow\-edge run \-\-source v4l2:/dev/video0 \-\-display terminal
hueflow\-edge run \-\-mqtt mqtts://pi\-1@broker.lan \-\-device pi\-1
hueflow\-edge cluster photo.png \-\-json \-\-labels labels/
.fi
.SH "SEE ALSO"
\fBhueflow\-bridge\fR(1), \fBhueflow\-metrics\fR(1), /usr/share/doc/hueflow\-edge/README.md
"#;

fn main() -> std::io::Result<()> {
    let dir = std::env::args_os().nth(1).ok_or(std::io::ErrorKind::InvalidInput)?;
    pages::write(hueflow_edge::cli::command(), SECTIONS, dir.as_ref())
}
