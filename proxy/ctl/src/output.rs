use anstyle::{AnsiColor, Style};
use clap::ValueEnum;
use serde::Serialize;
use std::io::{self, Write};

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
pub(crate) const FAINT: Style = Style::new().dimmed();

impl Output {
    pub(crate) fn new(format: Format) -> Self {
        Self { format, stdout: anstream::stdout() }
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
pub(crate) fn complain(error: &dyn std::error::Error) {
    let mut stderr = anstream::stderr();
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
    let _ = writeln!(stderr, "{BAD}error:{BAD:#} {text}");
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
