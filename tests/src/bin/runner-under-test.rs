//! The runner as it is built for the tests: cargo builds the binaries of a package's own tests only.

fn main() -> std::process::ExitCode {
    runner::main()
}
