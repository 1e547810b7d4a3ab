use crate::output::{BAD, FAINT, GOOD};
use serde_json::Value;
use similar::{ChangeTag, TextDiff};
use std::io::{self, Write};

/// What a rewrite changes, line by line of the indented JSON.
pub(crate) fn print(out: &mut dyn Write, before: &Value, after: &Value) -> io::Result<()> {
    let (before, after) = (pretty(before), pretty(after));
    let diff = TextDiff::from_lines(&before, &after);
    for change in diff.iter_all_changes() {
        let line = change.value().trim_end_matches('\n');
        match change.tag() {
            ChangeTag::Equal => writeln!(out, "  {FAINT}  {line}{FAINT:#}")?,
            ChangeTag::Delete => writeln!(out, "  {BAD}- {line}{BAD:#}")?,
            ChangeTag::Insert => writeln!(out, "  {GOOD}+ {line}{GOOD:#}")?,
        }
    }
    Ok(())
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).map(|it| it + "\n").unwrap_or_default()
}
