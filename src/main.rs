//! The salver command: parses, dispatches, and gives an exit code.

fn main() -> std::process::ExitCode {
    // Before there is a second thread: what salver writes is for its user alone.
    salver::rights::keep_new_files_private();
    salver::cli::main()
}
