//! `wasmhook`, as a runtime starts it.

use std::io;
use std::process::ExitCode;
use wasmhook::{Caller, run};

fn main() -> ExitCode {
    let mut caller = Caller {
        environment: std::env::vars_os().collect(),
        stdin: &mut io::stdin().lock(),
        stdout: &mut io::stdout().lock(),
        stderr: &mut io::stderr().lock(),
    };
    ExitCode::from(run(&mut caller))
}
