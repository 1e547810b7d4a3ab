//! The log: one line an event, on stderr, which is where runtimes look, and in a file if the node wants one. Each line is one write, so that lines of
//! parallel calls stay whole. (A general subscriber costs every call the set-up of spans that nobody here opens.)

use crate::settings::{Level, Settings};
use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::time::SystemTime;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Metadata, Subscriber, span};

/// Starts the log. A second call in one process keeps the first one's.
pub fn start_log(settings: &Settings) {
    let file = settings.log_file.as_ref().map(|path| {
        OpenOptions::new().create(true).append(true).mode(0o600).open(path).map_err(|error| (path, error))
    });
    let (file, failed) = match file {
        Some(Ok(file)) => (Some(file), None),
        Some(Err(failed)) => (None, Some(failed)),
        None => (None, None),
    };
    let _ = tracing::subscriber::set_global_default(Log { level: settings.log.into(), file });
    if let Some((path, error)) = failed {
        tracing::error!("log file {}: {error}", path.display());
    }
}

struct Log {
    level: tracing::Level,
    file: Option<File>,
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= self.level
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level.into())
    }

    fn event(&self, event: &Event<'_>) {
        let mut line =
            Line { text: format!("wasmhook {:>5}: ", event.metadata().level()), fields: String::new() };
        event.record(&mut line);
        // Nobody may be listening; that is no reason to fail a pod.
        let text = format!("{}{}\n", one_line(&line.text), line.fields);
        let _ = io::stderr().write_all(text.as_bytes());
        if let Some(mut file) = self.file.as_ref() {
            // Who reads stderr puts a time to each line; a file has nobody to do that.
            let now = humantime::format_rfc3339_millis(SystemTime::now());
            let _ = file.write_all(format!("{now} {text}").as_bytes());
        }
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

/// What stands in a message may be a plugin's words or a hook's: it stays on its line, and a terminal obeys none of it.
fn one_line(text: &str) -> Cow<'_, str> {
    if !text.contains(char::is_control) {
        return text.into();
    }
    let mut line = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() { line.extend(character.escape_debug()) } else { line.push(character) }
    }
    line.into()
}

struct Line {
    text: String,
    fields: String,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string does not fail.
        let _ = match field.name() {
            "message" => write!(self.text, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let plain = value.bytes().all(|it| it.is_ascii_alphanumeric() || b"-_./:".contains(&it));
        if plain && !value.is_empty() && field.name() != "message" {
            let _ = write!(self.fields, " {}={value}", field.name());
        } else {
            self.record_debug(field, &value);
        }
    }
}

impl From<Level> for tracing::Level {
    fn from(level: Level) -> Self {
        match level {
            Level::Trace => Self::TRACE,
            Level::Debug => Self::DEBUG,
            Level::Info => Self::INFO,
            Level::Warn => Self::WARN,
            Level::Error => Self::ERROR,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::one_line;

    #[test]
    fn a_message_is_one_line_and_paints_no_terminal() {
        assert_eq!(one_line("a\nb\x1b[31m é"), "a\\nb\\u{1b}[31m é");
    }
}
