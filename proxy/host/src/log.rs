use crate::{Failure, Interface, Scopes, Visit, no_scope, parameters};
use serde::Deserialize;
use serde_json::Value;
use std::fmt::Write as _;

pub(crate) const INTERFACE: Interface = Interface {
    name: "log",
    free: true,
    scopes: Scopes::Whole,
    scope_of: no_scope,
    functions: &[("write", write)],
};

/// Longer messages are cut: a log is for reading.
const LONGEST: usize = 4096;

#[derive(Deserialize)]
struct Line {
    level: String,
    message: String,
    fields: Vec<(String, String)>,
}

fn write(visit: &mut Visit, input: Value) -> Result<Value, Failure> {
    let line: Line = parameters(input)?;
    let mut text = one_line(&line.message);
    for (key, value) in &line.fields {
        let _ = write!(text, " {}={:?}", one_line(key), one_line(value));
    }
    let Visit { hook, phase, verb, container_id, .. } = visit;
    macro_rules! event {
        ($level:ident) => {
            tracing::$level!(target: "hook", hook, phase, verb, container_id, "{text}")
        };
    }
    match line.level.as_str() {
        "trace" => event!(trace),
        "debug" => event!(debug),
        "info" => event!(info),
        "warn" => event!(warn),
        _ => event!(error),
    }
    Ok(Value::Null)
}

/// A guest's text as one line of a log that a terminal shows: no line breaks, no escape sequences.
fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len().min(LONGEST));
    for char in text.chars() {
        if line.len() >= LONGEST {
            line.push('…');
            break;
        }
        if char.is_control() { line.extend(char.escape_default()) } else { line.push(char) }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::one_line;

    #[test]
    fn a_line_stays_a_line_and_does_not_paint_the_terminal() {
        assert_eq!(one_line("a\nb\x1b[31m"), "a\\nb\\u{1b}[31m");
        let long = one_line(&"x".repeat(10_000));
        assert!(long.len() < 4200 && long.ends_with('…'));
    }
}
