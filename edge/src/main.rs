//! hueflow-edge: the command.
//!
//! Command line, exit code and all else are in `hueflow_edge::cli`.

fn main() -> std::process::ExitCode {
    hueflow_edge::cli::main()
}
