use crate::held::{Attachment, Held, Unreadable};
use crate::output::{BAD, FAINT, GOOD, Output, Progress, complaint, with_causes};
use crate::valid::{Source, Valid};
use crate::{Failure, Verdict};
use clap::Args;
use serde::Serialize;
use std::cmp::Reverse;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};
use wasmhook_plugin::settings::{Level, Settings};
use wasmhook_plugin::{Upkeep, start_log};
use wasmhook_store::{Access, Journals, State, boot_id};

/// How long calls that are at work on what hooks remember are waited for.
const SWEEP_WITHIN: Duration = Duration::from_secs(5);

/// Take away what a crash has left, without a runtime
///
/// For each attachment that is stale, the DELs of its delegates are done as its journal has them, backwards; then the
/// journal is removed. No hook is run. All of them are tried; errors are told at the end.
///
/// Stale is what the given source does not list, and whose namespace is gone. With --force also what still has its
/// namespace. Without a source nothing is known to be valid or not: then only what is of an earlier boot is stale.
/// What somebody is at work on, or began after the source was asked, is left alone in any case.
///
/// Exit code: 0, 1 when something could not be taken away, 2 when nothing was tried.
#[derive(Args)]
#[command(after_help = "Examples:
  wasmhookctl gc                                   after a reboot
  wasmhookctl gc --from-cri /run/containerd/containerd.sock --dry-run
                                                   what no pod of containerd needs any more
  wasmhookctl gc --from-cri /run/crio/crio.sock    the same for CRI-O, in earnest
  wasmhookctl gc --from-libcni-cache               for nerdctl, cnitool and the like
  echo '[]' | wasmhookctl gc --valid -             nothing is valid: all whose namespace is gone
  echo '[]' | wasmhookctl gc --valid - --force     everything, on a drained node")]
pub(crate) struct Gc {
    #[command(flatten)]
    source: Source,
    /// Only of this network
    #[arg(long, value_name = "NAME")]
    network: Option<String>,
    /// Only say what would be taken away
    #[arg(long)]
    dry_run: bool,
    /// Also what is not valid and still has its namespace: this cuts a container that runs off its network
    #[arg(long, requires = "source")]
    force: bool,
    /// With --force: how old it must be; a runtime lists a pod only after its ADD
    #[arg(long, value_name = "TIME", default_value = "1m", requires = "force", value_parser = humantime::parse_duration)]
    older_than: Duration,
    /// Where plugins are looked up that are no longer where their journal has them
    #[arg(long, value_name = "DIR:DIR", env = "CNI_PATH", default_value = "/opt/cni/bin")]
    cni_path: String,
}

#[derive(Serialize)]
struct Report {
    dry_run: bool,
    attachments: Vec<Row>,
    unreadable: Vec<Unreadable>,
    /// Journals that told nothing, removed.
    empty: Vec<PathBuf>,
    /// Attachments without a journal of which hooks remembered something, forgotten.
    forgotten: usize,
}

#[derive(Serialize)]
struct Row {
    #[serde(flatten)]
    attachment: Attachment,
    outcome: Outcome,
    /// Why it was left alone, what went wrong, or who else took it away.
    why: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Outcome {
    Valid,
    LeftAlone,
    TakenAway,
    /// It was a dry run.
    WouldBeTakenAway,
    Failed,
}

/// What is to become of an attachment.
#[derive(Debug, PartialEq, Eq)]
enum Judgement {
    Valid,
    Stale,
    LeftAlone(&'static str),
}

/// By what attachments are judged.
struct Judge {
    valid: Option<Valid>,
    /// Milliseconds since 1970: from before the source was asked.
    asked: u64,
    force: bool,
    older_than: Duration,
    /// Does the kernel say which boot this is?
    knows_boot: bool,
}

impl Gc {
    pub(crate) fn run(
        &self,
        settings: &Settings,
        settings_file: Option<&Path>,
        out: &mut Output,
    ) -> Result<Verdict, Failure> {
        start_log(&Settings { log: Level::Warn.max(settings.log), ..settings.clone() });
        let judge = Judge {
            asked: now(),
            valid: self.source.ask()?,
            force: self.force,
            older_than: self.older_than,
            knows_boot: !boot_id().is_empty(),
        };
        let Held { mut attachments, unreadable, empty, .. } = Held::on(settings)?;
        attachments.retain(|it| self.network.as_ref().is_none_or(|network| it.key.network == *network));
        // The last entry of a chain first. An inner plugin's is undone by the DEL of the one around it, if there is one.
        attachments.sort_by_key(|it| (it.key.entry == "ipam", Reverse(it.since)));
        let mut report = Report {
            dry_run: self.dry_run,
            attachments: Vec::new(),
            unreadable,
            empty: Vec::new(),
            forgotten: 0,
        };
        let work = Work {
            judge,
            dry_run: self.dry_run,
            journals: Journals::new(&settings.state),
            upkeep: Upkeep { settings, variables: variables(settings_file), path: self.cni_path.clone() },
        };
        let mut unswept = None;
        let all = attachments.len();
        for (number, attachment) in (1..).zip(attachments) {
            let progress = Progress::show(&format!("{number} of {all}: {}", name(&attachment)));
            let (outcome, why) = work.settle(&attachment);
            drop(progress);
            let row = Row { attachment, outcome, why };
            out.tell(|out| line(out, &row))?;
            report.attachments.push(row);
        }
        if self.network.is_none() && !self.dry_run {
            report.empty = empty.into_iter().filter(|file| work.sweep(file)).collect();
            let mut state = State::new(&settings.state, settings.state_quota);
            match state.sweep(&work.journals, Instant::now() + SWEEP_WITHIN) {
                Ok(forgotten) => report.forgotten = forgotten,
                Err(error) => unswept = Some(with_causes(&error)),
            }
        }
        out.print(&report, |out, report| summary(out, report, work.judge.valid.is_some()))?;
        Ok(errors(&report, unswept))
    }
}

struct Work<'a> {
    judge: Judge,
    dry_run: bool,
    journals: Journals,
    upkeep: Upkeep<'a>,
}

impl Work<'_> {
    /// What became of it, and why.
    fn settle(&self, attachment: &Attachment) -> (Outcome, Option<String>) {
        match self.judge.judge(attachment) {
            Judgement::Valid => (Outcome::Valid, None),
            Judgement::LeftAlone(why) => (Outcome::LeftAlone, Some(why.to_owned())),
            Judgement::Stale if self.dry_run => (Outcome::WouldBeTakenAway, None),
            Judgement::Stale => match self.take_away(attachment) {
                Ok((outcome, why)) => (outcome, why.map(str::to_owned)),
                Err(why) => (Outcome::Failed, Some(why)),
            },
        }
    }

    /// What was judged may have changed before it was locked.
    fn take_away(&self, attachment: &Attachment) -> Result<(Outcome, Option<&'static str>), String> {
        let journal = match self.journals.open_file(&attachment.journal, Duration::ZERO) {
            Ok(None | Some(Access::Removed(_))) => {
                return Ok((
                    Outcome::TakenAway,
                    Some("by another DEL: of the plugin around it, or of the runtime"),
                ));
            }
            Ok(Some(Access::Ours(journal))) => journal,
            Ok(Some(Access::Busy(_))) => return Ok((Outcome::LeftAlone, Some(BUSY))),
            Err(error) => return Err(with_causes(&error)),
        };
        let now = Attachment::of(&attachment.journal, journal.story(), false);
        if now.is_some_and(|now| self.judge.judge(&now) != Judgement::Stale) {
            return Ok((Outcome::LeftAlone, Some("changed just now")));
        }
        let taken_away = self.upkeep.take_away(journal, &mut io::stderr());
        taken_away.map(|()| (Outcome::TakenAway, None)).map_err(|error| with_causes(&error))
    }

    /// Removes a journal that tells nothing, if it still does.
    fn sweep(&self, file: &Path) -> bool {
        match self.journals.open_file(file, Duration::ZERO) {
            Ok(Some(Access::Ours(journal))) if journal.story().begin.is_none() => journal.remove().is_ok(),
            _ => false,
        }
    }
}

const BUSY: &str = "locked: an ADD, a DEL or a plugin of theirs is at work on it";

impl Judge {
    fn judge(&self, it: &Attachment) -> Judgement {
        if it.busy {
            return Judgement::LeftAlone(BUSY);
        }
        let Some(valid) = &self.valid else {
            return match it {
                _ if it.earlier_boot && self.knows_boot => Judgement::Stale,
                _ if it.namespace_gone => {
                    Judgement::LeftAlone("its namespace is gone, but is it valid? (--valid, --from-…)")
                }
                _ => Judgement::LeftAlone("its namespace is there"),
            };
        };
        match it {
            _ if valid.has(&it.key) => Judgement::Valid,
            _ if it.since >= self.asked => Judgement::LeftAlone("younger than the list of what is valid"),
            _ if it.namespace_gone => Judgement::Stale,
            _ if !self.force => Judgement::LeftAlone("not valid, but its namespace is there (--force)"),
            _ if it.age < self.older_than => Judgement::LeftAlone("not valid, but too young (--older-than)"),
            _ => Judgement::Stale,
        }
    }
}

/// Ours, and where the settings are: a plugin may be wasmhook again, as IPAM.
fn variables(settings_file: Option<&Path>) -> Vec<(OsString, OsString)> {
    let mut variables: Vec<_> = std::env::vars_os().collect();
    if let Some(file) = settings_file {
        variables.retain(|(key, _)| key != "WASMHOOK_CONFIG");
        variables.push(("WASMHOOK_CONFIG".into(), file.into()));
    }
    variables
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn name(it: &Attachment) -> String {
    format!("{} {} {}", it.key.network, it.short_id(), it.key.ifname)
}

fn line(out: &mut dyn Write, row: &Row) -> io::Result<()> {
    let name = name(&row.attachment);
    let held_by = match row.attachment.held_by() {
        types if types.is_empty() => String::new(),
        types => format!(" {FAINT}({}){FAINT:#}", types.join(", ")),
    };
    let why = row.why.as_deref().unwrap_or("");
    match row.outcome {
        Outcome::Valid => Ok(()),
        Outcome::LeftAlone => writeln!(out, "- {name}: {FAINT}left alone: {why}{FAINT:#}"),
        Outcome::TakenAway => writeln!(out, "{GOOD}✓{GOOD:#} {name}: taken away{held_by}"),
        Outcome::WouldBeTakenAway => writeln!(out, "{GOOD}✓{GOOD:#} {name}: would be taken away{held_by}"),
        Outcome::Failed => writeln!(out, "{BAD}✗{BAD:#} {name}: {why}"),
    }
}

fn summary(out: &mut dyn Write, report: &Report, asked: bool) -> io::Result<()> {
    let count = |outcome| report.attachments.iter().filter(|it| it.outcome == outcome).count();
    let taken = if report.dry_run {
        format!("{} would be taken away", count(Outcome::WouldBeTakenAway))
    } else {
        format!("{} taken away", count(Outcome::TakenAway))
    };
    let mut parts = vec![taken];
    for (outcome, word) in
        [(Outcome::Failed, "failed"), (Outcome::LeftAlone, "left alone"), (Outcome::Valid, "valid")]
    {
        parts.extend(Some(count(outcome)).filter(|it| *it > 0).map(|it| format!("{it} {word}")));
    }
    parts.extend(
        Some(report.empty.len()).filter(|it| *it > 0).map(|it| format!("{it} empty journals removed")),
    );
    parts.extend(
        Some(report.forgotten).filter(|it| *it > 0).map(|it| format!("{it} forgotten that had no journal")),
    );
    let boot = if asked { "" } else { " (no source was given: only of an earlier boot)" };
    writeln!(out, "{}{FAINT}{boot}{FAINT:#}", parts.join(", "))
}

/// After everything else, so that nobody overlooks them.
fn errors(report: &Report, unswept: Option<String>) -> Verdict {
    let mut stderr = anstream::stderr();
    let mut verdict = Verdict::Good;
    let failed = report.attachments.iter().filter(|it| it.outcome == Outcome::Failed);
    let failed = failed.map(|row| {
        let why = row.why.as_deref().unwrap_or("");
        format!("{}: {why}; its journal stays: when the cause is gone, run this again", name(&row.attachment))
    });
    for error in failed.chain(report.unreadable.iter().map(Unreadable::advice)).chain(unswept) {
        let _ = complaint(&mut stderr, &error);
        verdict = Verdict::Bad;
    }
    verdict
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmhook_store::{Begin, Key, Story};

    const HERE: &str = "/proc/self/ns/net";

    fn attachment(netns: &str, change: impl FnOnce(&mut Begin)) -> Attachment {
        let key = Key {
            network: "n".into(),
            container_id: "c".into(),
            ifname: "eth0".into(),
            entry: "main".into(),
        };
        let mut begin = Begin::now(key, netns, "", "", Vec::new());
        begin.began -= 120_000;
        change(&mut begin);
        Attachment::of(Path::new("/j"), &Story { begin: Some(begin), ..Story::default() }, false).unwrap()
    }

    fn judge(valid: Option<Valid>, force: bool) -> Judge {
        Judge { valid, asked: now(), force, older_than: Duration::from_mins(1), knows_boot: true }
    }

    fn is_stale(judge: &Judge, it: &Attachment) -> bool {
        judge.judge(it) == Judgement::Stale
    }

    #[test]
    fn without_a_source_only_an_earlier_boot_is_stale() {
        let judge = judge(None, false);
        let earlier = attachment(HERE, |begin| begin.boot = "another".into());
        assert!(is_stale(&judge, &earlier));
        assert!(!is_stale(&Judge { knows_boot: false, ..judge }, &earlier));
        let judge = self::judge(None, true);
        assert!(!is_stale(&judge, &attachment("/nowhere", |_| {})));
        assert!(!is_stale(&judge, &attachment(HERE, |_| {})));
    }

    #[test]
    fn with_a_source_what_is_not_valid_must_be_gone_too() {
        let (gone, here) = (attachment("/nowhere", |_| {}), attachment(HERE, |_| {}));
        let known = || Some(Valid::default());
        assert!(is_stale(&judge(known(), false), &gone) && !is_stale(&judge(known(), false), &here));
        assert!(is_stale(&judge(known(), true), &here));
        let young = attachment(HERE, |begin| begin.began += 100_000);
        assert!(!is_stale(&judge(known(), true), &young));
        let younger_than_the_list = attachment("/nowhere", |begin| begin.began += 600_000);
        assert!(!is_stale(&judge(known(), true), &younger_than_the_list));
        let mut busy = gone;
        busy.busy = true;
        assert!(!is_stale(&judge(known(), true), &busy));
    }
}
