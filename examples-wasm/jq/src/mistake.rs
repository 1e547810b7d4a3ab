//! What is wrong with a filter, and where.

use jaq_core::compile::Undefined;
use jaq_core::load::{self, span};

/// A filter that cannot be read.
pub(crate) fn of_text(code: &str, errors: &load::Errors<&str, ()>) -> String {
    let first = errors.iter().find_map(|(_, error)| match error {
        load::Error::Lex(errors) => errors.first().map(|(wanted, at)| (wanted.as_str(), *at)),
        load::Error::Parse(errors) => errors.first().map(|(wanted, at)| (wanted.as_str(), *at)),
        load::Error::Io(errors) => {
            errors.first().map(|(at, _)| ("no other file, which is not read here", *at))
        }
    });
    match first {
        Some((wanted, at)) if at.is_empty() => {
            format!("{}: it ends, and wanted is {wanted}", place(code, at))
        }
        Some((wanted, at)) => format!("{}: {:?}, and wanted is {wanted}", place(code, at), brief(at)),
        None => "it cannot be read".to_owned(),
    }
}

/// A filter that uses what is not there.
pub(crate) fn of_names(
    code: &str,
    errors: &load::Errors<&str, (), Vec<(&str, Undefined)>>,
    known: &[String],
) -> String {
    let Some((name, what)) = errors.iter().flat_map(|(_, errors)| errors).next() else {
        return "it cannot be compiled".to_owned();
    };
    let arguments = match what {
        Undefined::Filter(arity) => format!("/{arity}"),
        _ => String::new(),
    };
    let near = known
        .iter()
        .map(|it| (strsim::damerau_levenshtein(it, name), it))
        .min()
        .filter(|it| it.0 <= 2 && it.0 < name.len());
    let near = match (what, near) {
        (Undefined::Filter(_), Some((0, _))) => "; it takes another number of arguments".to_owned(),
        (Undefined::Filter(_), Some((_, near))) => format!("; did you mean `{near}`?"),
        _ => String::new(),
    };
    format!("{}: there is no {} `{name}`{arguments}{near}", place(code, name), what.as_str())
}

/// `line 1, column 8`; nowhere, if it is not in the filter itself.
fn place(code: &str, part: &str) -> String {
    let whole = code.as_ptr() as usize..=code.as_ptr() as usize + code.len();
    if !whole.contains(&(part.as_ptr() as usize)) {
        return "at its end".to_owned();
    }
    let before = &code[..span(code, part).start];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    format!("line {line}, column {column}")
}

fn brief(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    if line.chars().count() <= 20 { line.to_owned() } else { line.chars().take(20).chain(['…']).collect() }
}
