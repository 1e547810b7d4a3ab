use anstyle::{AnsiColor, Style};
use clap::ValueEnum;
use serde::Serialize;
use std::error::Error;
use std::io::{self, IsTerminal, Write};

/// How results are printed.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For a person
    Text,
    /// For a program: one JSON document
    Json,
}

/// Where results go. Colours are taken out when nobody would see them (a pipe, `NO_COLOR`).
pub(crate) struct Output {
    format: Format,
    stdout: anstream::AutoStream<io::Stdout>,
}

pub(crate) const BOLD: Style = Style::new().bold();
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
pub(crate) const BAD: Style = AnsiColor::Red.on_default();
pub(crate) const LOUD: Style = AnsiColor::Yellow.on_default().bold();
pub(crate) const FAINT: Style = Style::new().dimmed();

impl Output {
    pub(crate) fn new(format: Format) -> Self {
        Self { format, stdout: anstream::stdout() }
    }

    /// A part of what [`print`](Self::print) will say, as soon as it is known. A program waits for the whole.
    pub(crate) fn tell(&mut self, text: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
        match self.format {
            Format::Text => text(&mut self.stdout),
            Format::Json => Ok(()),
        }
    }

    /// One document, in the way that was asked for.
    pub(crate) fn print<T: Serialize>(
        &mut self,
        document: &T,
        text: impl FnOnce(&mut dyn Write, &T) -> io::Result<()>,
    ) -> io::Result<()> {
        match self.format {
            Format::Text => text(&mut self.stdout, document),
            Format::Json => {
                serde_json::to_writer_pretty(&mut self.stdout, document)?;
                writeln!(self.stdout)
            }
        }
    }
}

/// An error, to stderr. Never fails: nobody may be listening any more.
pub(crate) fn complain(error: &(dyn Error + 'static)) {
    let mut stderr = anstream::stderr();
    let _ = complaint(&mut stderr, &with_causes(error));
    if is_not_permitted(error) {
        let _ = writeln!(stderr, "  these files are root's: try again as root");
    }
}

/// An error among results.
pub(crate) fn complaint(out: &mut dyn Write, text: &str) -> io::Result<()> {
    writeln!(out, "{BAD}error:{BAD:#} {text}")
}

/// The error and what caused it, in one line.
pub(crate) fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        // Some errors already print their source.
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

fn is_not_permitted(error: &(dyn Error + 'static)) -> bool {
    let denied = |error: &io::Error| error.kind() == io::ErrorKind::PermissionDenied;
    error.downcast_ref().is_some_and(denied) || error.source().is_some_and(is_not_permitted)
}

/// What is being done, for whoever sits at a terminal; gone when it is done.
pub(crate) struct Progress(bool);

impl Progress {
    pub(crate) fn show(what: &str) -> Self {
        let shown = io::stderr().is_terminal();
        if shown {
            let _ = write!(io::stderr(), "\r\x1b[K{what} …");
        }
        Self(shown)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.0 {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

/// `1536` → `1.5 KB`.
#[allow(clippy::cast_precision_loss, reason = "for a person")]
pub(crate) fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.1} KB", bytes as f64 / 1e3),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}
