//! The `hugbucket` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    hugbucket::app::main()
}
