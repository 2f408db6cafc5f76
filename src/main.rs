//! The `hugbucket` command.

use std::process::ExitCode;

/// Keeps freed memory for a while instead of giving it back at once: transfers allocate and free their buffers all the
/// time, and what the kernel takes back it has to clear before it can be used again.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    hugbucket::app::main()
}
