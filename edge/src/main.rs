//! hueflow-edge: the command.
//!
//! Takes the command line. Gives the exit code.
//! Touches nothing itself.
//! Never more than this: see `hueflow_edge::cli`.

fn main() -> std::process::ExitCode {
    if let Ok(k) = std::env::var("KNOBS") {
        for (i, v) in k.split(',').enumerate() { firmware::knobs::KNOBS[i].store(v.parse().unwrap_or(0), std::sync::atomic::Ordering::Relaxed); }
    }
    hueflow_edge::cli::main()
}
