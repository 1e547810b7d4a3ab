//! `wasmhook` whose guests can break out: see `escape` in wasmhook-wasm.

use std::io;
use std::process::ExitCode;
use wasmhook::{Caller, run};

fn main() -> ExitCode {
    let mut caller = Caller {
        environment: std::env::vars_os().collect(),
        stdin: &mut io::stdin().lock(),
        stdout: &mut io::stdout().lock(),
        stderr: &mut io::stderr(),
        alone: true,
    };
    ExitCode::from(run(&mut caller))
}
