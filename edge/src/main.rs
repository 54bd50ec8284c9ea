//! hueflow-edge: the command.
//!
//! Takes the command line. Gives the exit code.
//! Touches nothing itself.
//! Never more than this: see `hueflow_edge::cli`.

fn main() -> std::process::ExitCode {
    hueflow_edge::cli::main()
}
