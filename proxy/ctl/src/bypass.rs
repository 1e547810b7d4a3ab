use crate::output::{BOLD, FAINT, GOOD, LOUD, Output};
use crate::{Failure, Verdict};
use clap::{Args, Subcommand};
use serde::Serialize;
use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, SystemTime};
use wasmhook_plugin::settings::Settings;
use wasmhook_store::Bypass as Switch;

/// Whoever needs longer has another problem, and takes the hooks out of the conflist.
const LONGEST: Duration = Duration::from_hours(24);

/// Skip all hooks on this node for a while: the switch for when a hook itself is the trouble
///
/// While it is on, no hook is run for any pod: nothing is guarded, nothing is rewritten. Delegates are run with the
/// configuration as it stands in the conflist; the journal, DEL and all clean-up go on. A hook with
/// `"bypassable": false` still runs. Every call says so in its log, at level error. It ends by itself.
#[derive(Args)]
#[command(after_help = "Examples:
  wasmhookctl bypass on --for 30m    hooks are skipped for half an hour
  wasmhookctl bypass status          is it on, and for how long?
  wasmhookctl bypass off             hooks run again")]
pub(crate) struct Bypass {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Skip hooks from now on; again: for so long from now
    On {
        /// For how long, such as `30m` or `2h`; 24h at most
        #[arg(long = "for", value_name = "TIME", value_parser = time)]
        time: Duration,
    },
    /// Run hooks again
    Off,
    /// Tell whether hooks are skipped. Exit code: 0 when they run, 1 while they are skipped
    Status,
}

#[derive(Serialize)]
struct Report {
    bypassed: bool,
    since: Option<String>,
    until: Option<String>,
    seconds_left: u64,
}

impl Bypass {
    pub(crate) fn run(&self, settings: &Settings, out: &mut Output) -> Result<Verdict, Failure> {
        match self.command {
            Command::On { time } => {
                let on = Switch::on(&settings.state, time)?;
                out.print(&Report::new(Some(&on)), |out, report| switched_on(out, report, &on))?;
                Ok(Verdict::Good)
            }
            Command::Off => {
                let was = Switch::now(&settings.state).is_some();
                Switch::off(&settings.state)?;
                out.print(&Report::new(None), |out, _| {
                    let already = if was { "" } else { " (they were not skipped)" };
                    writeln!(out, "{GOOD}hooks run{GOOD:#}{already}")
                })?;
                Ok(Verdict::Good)
            }
            Command::Status => {
                readable(&settings.state)?;
                let now = Switch::now(&settings.state);
                out.print(&Report::new(now.as_ref()), |out, report| match &now {
                    None => writeln!(out, "{GOOD}hooks run{GOOD:#}"),
                    Some(on) => skipped(out, report, on),
                })?;
                Ok(if now.is_some() { Verdict::Bad } else { Verdict::Good })
            }
        }
    }
}

impl Report {
    fn new(on: Option<&Switch>) -> Self {
        let date = |seconds: u64| {
            let time = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))?;
            Some(humantime::format_rfc3339_seconds(time).to_string())
        };
        Self {
            bypassed: on.is_some(),
            since: on.and_then(|on| date(on.since)),
            until: on.and_then(|on| date(on.until)),
            seconds_left: on.map_or(0, |on| on.left().as_secs()),
        }
    }
}

/// Hooks run when there is nothing to read. Here that must not mean: nothing that we may read.
fn readable(state: &Path) -> Result<(), Failure> {
    match fs::read_dir(state) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(Failure::File { path: state.into(), source })
        }
        _ => Ok(()),
    }
}

fn skipped(out: &mut dyn Write, report: &Report, on: &Switch) -> io::Result<()> {
    let (until, left) = (report.until.as_deref().unwrap_or(""), humantime::format_duration(on.left()));
    writeln!(out, "{LOUD}hooks are SKIPPED on this node{LOUD:#} until {BOLD}{until}{BOLD:#} (another {left})")
}

fn switched_on(out: &mut dyn Write, report: &Report, on: &Switch) -> io::Result<()> {
    skipped(out, report, on)?;
    writeln!(out, "  no hook guards or changes anything, but those with `\"bypassable\": false`")?;
    writeln!(out, "  delegates, the journal, DEL and clean-up go on as ever")?;
    writeln!(out, "  {FAINT}sooner: `wasmhookctl bypass off`{FAINT:#}")
}

fn time(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(time) if time > LONGEST => {
            Err("24h at most; for longer, take the hooks out of the conflist".into())
        }
        Ok(time) if time.as_secs() == 0 => Err("a second at least; `wasmhookctl bypass off` ends it".into()),
        Ok(time) => Ok(time),
        Err(_) => Err("write a time such as \"30m\" or \"2h\"".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bypass_has_an_end() {
        assert_eq!(time("30m"), Ok(Duration::from_mins(30)));
        assert_eq!(time("24h"), Ok(LONGEST));
        for (text, what) in [("25h", "24h at most"), ("0s", "a second at least"), ("soon", "write a time")] {
            assert!(time(text).unwrap_err().starts_with(what), "{text}");
        }
    }
}
