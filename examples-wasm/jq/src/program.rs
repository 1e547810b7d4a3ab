//! A filter, from text to what it says.

use crate::mistake;
use jaq_core::load::parse::Def;
use jaq_core::load::{Arena, File, Loader};
use jaq_core::native::{Filter, Fun, bome, run, v};
use jaq_core::{Compiler, Ctx, RunPtr, Vars, compile, data};
use jaq_json::{Val, read};
use serde_json::{Map, Value};
use std::cell::RefCell;
use wasmhook_sdk::{Failure, Result};

type Data = data::JustLut<Val>;

thread_local!(
    /// What the filter has last raised itself, to be told from what went wrong in it.
    static RAISED: RefCell<Option<Val>> = const { RefCell::new(None) };
);

/// A filter, compiled.
pub(crate) struct Program {
    name: String,
    filter: jaq_core::Filter<Data>,
    vars: Vec<Val>,
}

/// What a filter came to.
#[derive(Debug)]
pub(crate) enum Said {
    /// Nothing at all.
    Nothing,
    /// This.
    Value(Val),
    /// It raised an error on purpose.
    Raised(Val),
}

impl Program {
    /// The error says where in the filter, and what is wrong.
    pub(crate) fn compile(name: &str, code: &str, vars: &Map<String, Value>) -> Result<Self> {
        let names: Vec<_> = vars.keys().map(|it| format!("${it}")).collect();
        let filter =
            with_what_it_uses(code, &names).map_err(|wrong| Failure::new(format!("`{name}`: {wrong}")))?;
        let value = |value: &Value| parse(&value.to_string());
        let vars = vars.values().map(value).collect::<Result<_>>()?;
        Ok(Self { name: name.to_owned(), filter, vars })
    }

    pub(crate) fn run(&self, input: Val) -> Result<Said> {
        let failed = |what: String| Failure::new(format!("`{}`: {what}", self.name));
        let context = Ctx::<Data>::new(&self.filter.lut, Vars::new(self.vars.iter().cloned()));
        let mut outputs = self.filter.id.run((context, input));
        let said = match outputs.next() {
            None => return Ok(Said::Nothing),
            Some(Ok(value)) => value,
            Some(Err(exception)) => {
                let error = exception
                    .get_err()
                    .map_err(|_| failed("`halt` ends nothing here; `empty` does".into()))?;
                let value = error.into_val();
                let raised = RAISED.take().is_some_and(|it| it == value);
                return if raised { Ok(Said::Raised(value)) } else { Err(failed(explained(&text(&value)))) };
            }
        };
        match outputs.next() {
            None => Ok(Said::Value(said)),
            Some(_) => Err(failed("it says more than one thing; `first(…)` takes the first".into())),
        }
    }
}

/// The one difference from jq that everybody meets.
fn explained(words: &str) -> String {
    match words {
        "cannot use null as iterable (array or object)" => {
            format!(
                "{words}: nothing is made on the way to what is set; `.config.a //= {{}} | .config.a.b = 1` makes it"
            )
        }
        words => words.to_owned(),
    }
}

/// A string without its quotes; anything else as JSON.
pub(crate) fn text(value: &Val) -> String {
    match value {
        Val::TStr(bytes) | Val::BStr(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        other => other.to_string(),
    }
}

pub(crate) fn parse(text: &str) -> Result<Val> {
    read::parse_single(text.as_bytes()).map_err(|error| Failure::new(format!("JSON: {error}")))
}

/// Most filters need none of the definitions that make up half of jq's library, and to read all of them takes as long as
/// all the rest. What turns out to be missing is looked for there, until nothing is.
fn with_what_it_uses(code: &str, vars: &[String]) -> Result<jaq_core::Filter<Data>, String> {
    let mut wanted: Vec<(String, usize)> = Vec::new();
    let mut library: Option<Vec<Def>> = None;
    loop {
        let used: Vec<_> = if wanted.is_empty() {
            Vec::new()
        } else {
            let is_wanted = |it: &&Def| is_one_of(it, &wanted);
            library.get_or_insert_with(|| definitions().collect()).iter().filter(is_wanted).cloned().collect()
        };
        let arena = Arena::default();
        let loader = Loader::new(used);
        let modules =
            loader.load(&arena, File { code, path: () }).map_err(|errors| mistake::of_text(code, &errors))?;
        let names = vars.iter().map(String::as_str);
        let errors = match Compiler::default().with_funs(functions()).with_global_vars(names).compile(modules)
        {
            Ok(filter) => return Ok(filter),
            Err(errors) => errors,
        };
        let before = wanted.len();
        let library = library.get_or_insert_with(|| definitions().collect());
        for (name, what) in errors.iter().flat_map(|(_, errors)| errors) {
            let compile::Undefined::Filter(arity) = what else { continue };
            let missing = [((*name).to_owned(), *arity)];
            if !wanted.contains(&missing[0]) && library.iter().any(|it| is_one_of(it, &missing)) {
                wanted.extend(missing);
            }
        }
        if wanted.len() == before {
            return Err(mistake::of_names(code, &errors, &known()));
        }
    }
}

fn is_one_of(definition: &Def, wanted: &[(String, usize)]) -> bool {
    wanted.iter().any(|(name, arity)| definition.name == name && definition.args.len() == *arity)
}

fn definitions() -> impl Iterator<Item = Def> {
    jaq_core::defs().chain(jaq_std::defs()).chain(jaq_json::defs())
}

/// Those of jq, but for what leads outside: there is no environment in here, and no clock.
fn functions() -> impl Iterator<Item = Fun<Data>> {
    let own: [Filter<RunPtr<Data>>; 3] = [
        ("env", v(0), |_| bome(Ok(Val::obj(jaq_json::Map::default())))),
        ("now", v(0), |_| bome(Err(jaq_json::Error::str("`now`: a filter sees no clock")))),
        ("error_empty", v(0), |cv| {
            RAISED.set(Some(cv.1.clone()));
            bome(Err(jaq_json::Error::new(cv.1)))
        }),
    ];
    let outside = |fun: &Fun<Data>| !matches!(fun.0, "env" | "now" | "error_empty");
    jaq_core::funs()
        .chain(jaq_std::funs())
        .chain(jaq_json::funs())
        .filter(outside)
        .chain(own.into_iter().map(run::<Data>))
}

/// All names, for whoever has written another.
fn known() -> Vec<String> {
    let names = definitions().map(|it| it.name.to_owned());
    names
        .chain(functions().map(|it| it.0.to_owned()))
        .filter(|it| !it.contains('_') || it.starts_with("to_"))
        .collect()
}
