use crate::{Cli, Failure, Verdict};
use clap::{Args, CommandFactory};
use clap_complete::Shell;
use std::io::{self, Write};

/// Print a completion script for a shell
///
/// For bash: `source <(wasmhookctl completion bash)`
#[derive(Args)]
pub(crate) struct Completion {
    shell: Shell,
}

impl Completion {
    pub(crate) fn run(&self) -> Result<Verdict, Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "wasmhookctl", &mut script);
        io::stdout().write_all(&script)?;
        Ok(Verdict::Good)
    }
}

/// Print the manual page
///
/// To read it: `wasmhookctl man | man -l -`
#[derive(Args)]
pub(crate) struct Man {}

impl Man {
    #[allow(clippy::unused_self, reason = "a command like the others")]
    pub(crate) fn run(&self) -> Result<Verdict, Failure> {
        let mut page = Vec::new();
        clap_mangen::Man::new(Cli::command()).render(&mut page)?;
        io::stdout().write_all(&page)?;
        Ok(Verdict::Good)
    }
}
