//! Evaluates the CEL rules of a schema, with the functions that Kubernetes adds to the language.

use std::collections::HashMap;
use std::sync::Arc;

use cel::extractors::This;
use cel::objects::{Key, Map};
use cel::{Context, Env, ExecutionError, extensions};
use regex::Regex;
use serde_json::Value;

use super::Violation;

/// What the rules of a schema refuse of an object that the schema takes. Rules about a change are left out.
pub(super) fn violations(schema: &Value, object: &Value) -> Vec<Violation> {
    let mut env = Env::stdlib();
    // fails only where a function is registered twice
    let registered = extensions::strings(&mut env).is_ok();
    let rules = Rules { env: Arc::new(env), registered };
    let mut found = Vec::new();
    rules.walk(schema, object, "", &mut found);
    found
}

struct Rules {
    env: Arc<Env>,
    registered: bool,
}

impl Rules {
    fn walk(&self, schema: &Value, value: &Value, path: &str, found: &mut Vec<Violation>) {
        for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
            let text = rule["rule"].as_str().unwrap_or_default();
            if !text.contains("oldSelf") && !self.holds(text, value) {
                let message = rule["message"].as_str().unwrap_or(text);
                found.push(Violation { path: path.to_owned(), message: message.to_owned() });
            }
        }
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    let inner = schema["properties"].get(name);
                    let inner = inner.unwrap_or(&schema["additionalProperties"]);
                    let path =
                        if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                    self.walk(inner, value, &path, found);
                }
            }
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.walk(&schema["items"], item, &format!("{path}[{index}]"), found);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    /// Whether a rule is true. One that cannot be evaluated (a date that no calendar has) is not, as for
    /// the API server.
    fn holds(&self, rule: &str, value: &Value) -> bool {
        let Ok(program) = self.env.compile(rule) else { return false };
        let mut context = Context::with_env(Arc::clone(&self.env));
        context.add_variable_from_value("self", cel_value(value));
        let added = [
            context.add_function("isSorted", is_sorted),
            context.add_function("findAll", find_all),
            context.add_function("timestamp", timestamp),
        ];
        self.registered
            && added.iter().all(Result::is_ok)
            && program.execute(&context) == Ok(cel::Value::Bool(true))
    }
}

/// Whole numbers are CEL's `int`, with or without a sign.
fn cel_value(value: &Value) -> cel::Value {
    match value {
        Value::Null => cel::Value::Null,
        Value::Bool(value) => cel::Value::Bool(*value),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => cel::Value::Int(whole),
            None => cel::Value::Float(number.as_f64().unwrap_or_default()),
        },
        Value::String(text) => cel::Value::from(text.as_str()),
        Value::Array(items) => cel::Value::List(Arc::new(items.iter().map(cel_value).collect())),
        Value::Object(fields) => {
            let fields: HashMap<Key, cel::Value> = fields
                .iter()
                .map(|(name, value)| (Key::from(name.as_str()), cel_value(value)))
                .collect();
            cel::Value::Map(Map { map: Arc::new(fields) })
        }
    }
}

/// Whether each element is at most the next one.
fn is_sorted(This(list): This<Arc<Vec<cel::Value>>>) -> bool {
    list.is_sorted()
}

/// All matches of a regular expression.
#[expect(clippy::needless_pass_by_value, reason = "a function of CEL gets its arguments by value")]
fn find_all(
    This(text): This<Arc<String>>,
    pattern: Arc<String>,
) -> Result<cel::Value, ExecutionError> {
    let pattern = Regex::new(&pattern)
        .map_err(|error| ExecutionError::function_error("findAll", error.to_string()))?;
    let found: Vec<&str> = pattern.find_iter(&text).map(|found| found.as_str()).collect();
    Ok(cel::Value::from(found))
}

/// An instant, in microseconds since 1970: the rules compare instants and do nothing else with them.
#[expect(clippy::needless_pass_by_value, reason = "a function of CEL gets its arguments by value")]
fn timestamp(text: Arc<String>) -> Result<i64, ExecutionError> {
    let instant: Result<jiff::Timestamp, _> = text.parse();
    instant
        .map(jiff::Timestamp::as_microsecond)
        .map_err(|_| ExecutionError::function_error("timestamp", "not a timestamp"))
}
