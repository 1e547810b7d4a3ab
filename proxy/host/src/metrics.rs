use crate::{Failure, Interface, Scopes, Visit, decimal, no_scope, parameters};
use serde::Deserialize;
use serde_json::Value;
use wasmhook_store::Counters;

pub(crate) const INTERFACE: Interface = Interface {
    name: "metrics",
    free: false,
    scopes: Scopes::Whole,
    scope_of: no_scope,
    functions: &[("count", count)],
};

/// Longer names and values are no names and values.
const LONGEST_NAME: usize = 128;
const LONGEST_VALUE: usize = 256;
const MOST_LABELS: usize = 8;

#[derive(Deserialize)]
struct Count {
    name: String,
    #[serde(deserialize_with = "decimal")]
    by: u64,
    labels: Vec<(String, String)>,
}

fn count(visit: &mut Visit, input: Value) -> Result<Value, Failure> {
    let count: Count = parameters(input)?;
    // Also where nobody reads them: a mistake should show before it is on a node.
    count.judge()?;
    if let Some(directory) = &visit.metrics {
        // A module must not make another program's metric useless by using its name.
        let name = format!("wasmhook_{}", count.name);
        Counters::new(directory, &visit.hook).add(&name, &count.labels, count.by, visit.patience())?;
    }
    Ok(Value::Null)
}

impl Count {
    /// <https://prometheus.io/docs/concepts/data_model/#metric-names-and-labels>
    fn judge(&self) -> Result<(), Failure> {
        let invalid = |what: String| Err(Failure::new("invalid", what));
        let Self { name, labels, .. } = self;
        if name.len() > LONGEST_NAME || !is_word(name, ":") {
            return invalid(format!(
                "metric {name:?}: write letters, digits, `_` and `:`, {LONGEST_NAME} at most"
            ));
        }
        if labels.len() > MOST_LABELS {
            return invalid(format!("metric {name}: {} labels, and {MOST_LABELS} are allowed", labels.len()));
        }
        for (index, (label, value)) in labels.iter().enumerate() {
            if label == "hook" || label.starts_with("__") {
                return invalid(format!("label {label:?} is not a hook's to set"));
            }
            if label.len() > LONGEST_NAME || !is_word(label, "") {
                return invalid(format!(
                    "label {label:?}: write letters, digits and `_`, {LONGEST_NAME} at most"
                ));
            }
            if value.len() > LONGEST_VALUE {
                return invalid(format!(
                    "label {label:?}: a value of {} bytes, and {LONGEST_VALUE} are allowed",
                    value.len()
                ));
            }
            if labels[..index].iter().any(|(earlier, _)| earlier == label) {
                return invalid(format!("label {label:?} is there twice"));
            }
        }
        Ok(())
    }
}

fn is_word(text: &str, more: &str) -> bool {
    let plain = |char: char| char.is_ascii_alphanumeric() || char == '_' || more.contains(char);
    text.chars().all(plain) && text.starts_with(|char: char| !char.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::visit;
    use serde_json::json;

    fn ask(visit: &mut Visit, name: &str, labels: &Value) -> Result<Value, Failure> {
        count(visit, json!({ "name": name, "by": "2", "labels": labels }))
    }

    #[test]
    fn without_a_directory_nothing_happens_and_it_is_well() {
        assert_eq!(ask(&mut visit(), "denied_total", &json!([])), Ok(Value::Null));
    }

    #[test]
    fn a_counter_bears_our_name_and_the_hooks() {
        let directory = tempfile::tempdir().unwrap();
        let mut visit = Visit { metrics: Some(directory.path().into()), ..visit() };
        ask(&mut visit, "denied_total", &json!([["namespace", "shop"]])).unwrap();
        ask(&mut visit, "denied_total", &json!([["namespace", "shop"]])).unwrap();
        let text = std::fs::read_to_string(directory.path().join("wasmhook-h.prom")).unwrap();
        let expected =
            "# TYPE wasmhook_denied_total counter\nwasmhook_denied_total{hook=\"h\",namespace=\"shop\"} 4\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn what_prometheus_would_not_read_is_refused_anywhere() {
        let refused = |name: &str, labels: Value| {
            let failure = ask(&mut visit(), name, &labels).unwrap_err();
            assert_eq!(failure.code, "invalid", "{failure}");
        };
        for name in ["", "7up", "a-b", "ä", "a b", "a\nb 7", &"x".repeat(129)] {
            refused(name, json!([]));
        }
        for label in ["", "hook", "__name__", "a:b", "a=\"", "7"] {
            refused("a", json!([[label, "x"]]));
        }
        refused("a", json!([["b", "x"], ["b", "y"]]));
        refused("a", json!([["b", "x".repeat(257)]]));
        let labels: Vec<_> = (0..9).map(|it| (format!("l{it}"), "x")).collect();
        refused("a", json!(labels));
    }
}
