//! The generic runner: `runner --config FILE`.

fn main() -> std::process::ExitCode {
    runner::main()
}
