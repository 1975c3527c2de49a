//! The salver command: parses, dispatches, and gives an exit code.

fn main() -> std::process::ExitCode {
    salver::cli::main()
}
