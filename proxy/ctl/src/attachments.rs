use crate::held::{Attachment, Held, State, Unreadable};
use crate::output::{BAD, FAINT, GOOD, LOUD, Output, complaint};
use crate::table::Table;
use crate::{Failure, Verdict};
use anstyle::Style;
use clap::Args;
use serde::Serialize;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;
use wasmhook_plugin::settings::Settings;

/// List what wasmhook holds on this node: a line for each attachment with a journal
///
/// STATE is `attached`; `unfinished`: an ADD did not come to its end; `busy`: an ADD, a DEL or a plugin of theirs is at
/// work right now; `orphaned`: the container's namespace is gone, or is of an earlier boot, and no DEL has come.
///
/// Only looks. Exit code: 0, or 1 when a journal cannot be read.
#[derive(Args)]
#[command(after_help = "Examples:
  wasmhookctl attachments                     everything
  wasmhookctl attachments --container 4f1c    one pod's
  wasmhookctl attachments --orphaned          what a crash has left (next: wasmhookctl gc --help)
  wasmhookctl attachments -o json             ids in full, namespaces, each delegate, each thing that hooks made")]
pub(crate) struct Attachments {
    /// Only what is orphaned
    #[arg(long)]
    orphaned: bool,
    /// Only of this network
    #[arg(long, value_name = "NAME")]
    network: Option<String>,
    /// Only of containers whose id begins so
    #[arg(long, value_name = "ID-PREFIX")]
    container: Option<String>,
}

#[derive(Serialize)]
struct Report {
    /// Where journals are.
    directory: PathBuf,
    attachments: Vec<Attachment>,
    unreadable: Vec<Unreadable>,
}

impl Attachments {
    pub(crate) fn run(&self, settings: &Settings, out: &mut Output) -> Result<Verdict, Failure> {
        let held = Held::on(settings)?;
        let mut report =
            Report { directory: held.directory, attachments: held.attachments, unreadable: held.unreadable };
        let before = report.attachments.len();
        report.attachments.retain(|it| self.wants(it));
        let left_out = before - report.attachments.len();
        out.print(&report, |out, report| text(out, report, left_out))?;
        Ok(if report.unreadable.is_empty() { Verdict::Good } else { Verdict::Bad })
    }

    fn wants(&self, it: &Attachment) -> bool {
        (!self.orphaned || it.namespace_gone)
            && self.network.as_ref().is_none_or(|network| it.key.network == *network)
            && self.container.as_ref().is_none_or(|prefix| it.key.container_id.starts_with(prefix))
    }
}

fn text(out: &mut dyn Write, report: &Report, left_out: usize) -> io::Result<()> {
    if report.attachments.is_empty() {
        match left_out {
            0 => writeln!(out, "nothing is held (no journals in {})", report.directory.display())?,
            others => writeln!(out, "nothing like that is held ({others} others)")?,
        }
    } else {
        table(&report.attachments).print(out)?;
        let orphaned = report.attachments.iter().filter(|it| it.namespace_gone).count();
        if orphaned > 0 {
            writeln!(out, "{FAINT}{orphaned} orphaned: see `wasmhookctl gc --help`{FAINT:#}")?;
        }
    }
    report.unreadable.iter().try_for_each(|it| complaint(out, &it.advice()))
}

fn table(attachments: &[Attachment]) -> Table<7> {
    let list = |words: Vec<&str>| if words.is_empty() { "-".to_owned() } else { words.join(", ") };
    let row = |it: &Attachment| {
        let cells = [
            it.key.network.clone(),
            it.short_id(),
            it.key.ifname.clone(),
            age(it.age),
            list(it.held_by()),
            list(it.hooks.iter().map(String::as_str).collect()),
            it.state.to_string(),
        ];
        let style = match it.state {
            State::Attached => GOOD,
            State::Busy => Style::new(),
            State::Unfinished => LOUD,
            State::Orphaned => BAD,
        };
        (cells, style)
    };
    Table {
        head: ["NETWORK", "CONTAINER", "IFNAME", "SINCE", "HELD BY", "HOOKS", "STATE"],
        elastic: &[0, 4, 5],
        rows: attachments.iter().map(row).collect(),
    }
}

/// `40s`, `12m`, `5h`, `3d`: what fits a column.
fn age(age: Duration) -> String {
    match age.as_secs() {
        seconds @ 0..60 => format!("{seconds}s"),
        seconds @ 60..3600 => format!("{}m", seconds / 60),
        seconds @ 3600..86400 => format!("{}h", seconds / 3600),
        seconds => format!("{}d", seconds / 86400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_short() {
        let ages = [0, 59, 60, 3599, 3600, 86399, 86400, 8_640_000].map(|it| age(Duration::from_secs(it)));
        assert_eq!(ages, ["0s", "59s", "1m", "59m", "1h", "23h", "1d", "100d"]);
    }
}
