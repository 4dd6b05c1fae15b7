//! What a structural schema refuses: unknown fields, and values of another type or outside their limits. The
//! messages are those of the API server.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Violation;

/// Fields of the object's metadata, which the CRD leaves to Kubernetes.
const METADATA: &[&str] = &[
    "annotations",
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "labels",
    "managedFields",
    "name",
    "namespace",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
];
/// Fields that every object has in addition to those of the CRD.
const OBJECT: &[&str] = &["apiVersion", "kind", "metadata"];
/// How alike two names must be, from 0 to 1, for one to be a misspelling of the other.
const ALIKE: f64 = 0.8;
/// Units with which names of numbers end.
const UNITS: [&str; 3] = ["Seconds", "Units", "Bytes"];

/// The fields that the schema does not have, each with the name that may be meant.
pub(super) fn unknown_fields(schema: &Value, object: &Value) -> Vec<Violation> {
    let mut found = Vec::new();
    walk_unknown(schema, schema, object, "", &mut found);
    let metadata = object["metadata"].as_object().into_iter().flat_map(|fields| fields.keys());
    for name in metadata.filter(|name| !METADATA.contains(&name.as_str())) {
        found.push(unknown(
            &format!("metadata.{name}"),
            nearest(name, METADATA.iter().copied()).map(|near| format!("metadata.{near}")),
        ));
    }
    found
}

fn walk_unknown(
    root: &Value,
    schema: &Value,
    value: &Value,
    path: &str,
    found: &mut Vec<Violation>,
) {
    match value {
        Value::Object(fields) => {
            let known = schema["properties"].as_object();
            for (name, value) in fields {
                let inner = join(path, name);
                let of_field = known.and_then(|known| known.get(name));
                let others = &schema["additionalProperties"];
                let free = schema["x-kubernetes-preserve-unknown-fields"] == true;
                match of_field {
                    Some(of_field) => walk_unknown(root, of_field, value, &inner, found),
                    None if path.is_empty() && OBJECT.contains(&name.as_str()) => {}
                    None if others.is_object() => walk_unknown(root, others, value, &inner, found),
                    None if others == true || free || known.is_none() => {}
                    None => {
                        let others = known.into_iter().flat_map(|known| known.keys());
                        let top: &[&str] = if path.is_empty() { OBJECT } else { &[] };
                        let names = others.map(String::as_str).chain(top.iter().copied());
                        let near: Vec<_> =
                            nearest(name, names).map(|near| join(path, near)).collect();
                        let elsewhere = || elsewhere(root, name).into_iter().collect();
                        let meant = if near.is_empty() { elsewhere() } else { near };
                        found.push(unknown(&inner, meant.into_iter()));
                    }
                }
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                walk_unknown(root, &schema["items"], item, &format!("{path}[{index}]"), found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn unknown(path: &str, meant: impl Iterator<Item = String>) -> Violation {
    let meant: Vec<_> = meant.map(|meant| format!("\"{meant}\"")).collect();
    let meant = match meant[..] {
        [] => String::new(),
        _ => format!(", did you mean {}?", meant.join(" or ")),
    };
    let message = format!("unknown field \"{path}\"{meant}");
    Violation { path: String::new(), message }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// Those of some names that are the wanted one with a unit, such as `lagSeconds` for `lag`; otherwise the most
/// similar one, if any is similar.
fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> impl Iterator<Item = &'a str> {
    let wanted = name.to_lowercase();
    let names: Vec<&str> = names.collect();
    let with_unit =
        |candidate: &&str| candidate.strip_prefix(name).is_some_and(|unit| UNITS.contains(&unit));
    let mut found: Vec<_> = names.iter().copied().filter(with_unit).collect();
    if found.is_empty() {
        let alike = |candidate: &str| strsim::jaro_winkler(&wanted, &candidate.to_lowercase());
        let all = names.into_iter().map(|candidate| (alike(candidate), candidate));
        let near = all.filter(|(alike, _)| *alike > ALIKE);
        found.extend(near.max_by(|one, other| one.0.total_cmp(&other.0)).map(|(_, near)| near));
    }
    found.into_iter()
}

/// The path of a field of this name in another part of the spec, the shortest if there are several.
fn elsewhere(root: &Value, name: &str) -> Option<String> {
    let mut level = vec![("spec".to_owned(), &root["properties"]["spec"])];
    while !level.is_empty() {
        let mut below = Vec::new();
        for (path, schema) in level {
            for (field, inner) in schema["properties"].as_object().into_iter().flatten() {
                let path = join(&path, field);
                if field == name {
                    return Some(path);
                }
                below.push((path, inner));
            }
        }
        level = below;
    }
    None
}

/// What the schema refuses of an object whose fields it knows.
pub(super) fn violations(schema: &Value, object: &Value) -> Vec<Violation> {
    let mut found = Vec::new();
    let metadata = &object["metadata"];
    if !metadata["name"].is_string() && !metadata["generateName"].is_string() {
        found.push(violation("metadata.name", "Required value: name or generateName is required"));
    }
    walk(schema, object, "", &mut found);
    found
}

fn violation(path: &str, message: impl Into<String>) -> Violation {
    Violation { path: path.to_owned(), message: message.into() }
}

fn walk(schema: &Value, value: &Value, path: &str, found: &mut Vec<Violation>) {
    if let Some(message) = wrong_type(schema, value) {
        found.push(violation(path, message));
        return;
    }
    if let Some(values) = schema["enum"].as_array().filter(|values| !values.contains(value)) {
        let supported: Vec<String> =
            values.iter().filter(|value| !value.is_null()).map(ToString::to_string).collect();
        let supported = supported.join(", ");
        found.push(violation(
            path,
            format!("Unsupported value: {value}: supported values: {supported}"),
        ));
        return;
    }
    match value {
        Value::Object(fields) => {
            for name in schema["required"].as_array().into_iter().flatten() {
                let name = name.as_str().unwrap_or_default();
                if !fields.contains_key(name) {
                    found.push(violation(&join(path, name), "Required value"));
                }
            }
            count(
                schema,
                ("minProperties", "maxProperties", "properties"),
                fields.len(),
                path,
                found,
            );
            for (name, value) in fields {
                let of_field = schema["properties"].get(name);
                let inner = of_field.unwrap_or(&schema["additionalProperties"]);
                walk(inner, value, &join(path, name), found);
            }
        }
        Value::Array(items) => {
            count(schema, ("minItems", "maxItems", "items"), items.len(), path, found);
            let is_set = schema["x-kubernetes-list-type"] == "set";
            let mut seen = BTreeSet::new();
            for (index, item) in items.iter().enumerate() {
                let path = format!("{path}[{index}]");
                if is_set && !seen.insert(item.to_string()) {
                    found.push(violation(&path, format!("Duplicate value: {item}")));
                }
                walk(&schema["items"], item, &path, found);
            }
        }
        Value::String(text) => string(schema, text, path, found),
        Value::Number(number) => {
            let number = number.as_f64().unwrap_or_default();
            let in_body = |limit: &Value, than: &str| {
                // the schema writes a whole number as 10.0
                let limit = limit.as_f64().unwrap_or_default();
                format!("Invalid value: {value}: should be {than} than or equal to {limit}")
            };
            let (least, most) = (&schema["minimum"], &schema["maximum"]);
            if least.as_f64().is_some_and(|least| number < least) {
                found.push(violation(path, in_body(least, "greater")));
            }
            if most.as_f64().is_some_and(|most| number > most) {
                found.push(violation(path, in_body(most, "less")));
            }
        }
        Value::Null | Value::Bool(_) => {}
    }
}

fn string(schema: &Value, text: &str, path: &str, found: &mut Vec<Violation>) {
    count(schema, ("minLength", "maxLength", "chars"), text.chars().count(), path, found);
    if let Some(pattern) = schema["pattern"].as_str() {
        let fits = regex::Regex::new(pattern).is_ok_and(|pattern| pattern.is_match(text));
        if !fits {
            found.push(violation(path, format!("Invalid value: should match '{pattern}'")));
        }
    }
}

/// Checks how many there are of something.
fn count(
    schema: &Value,
    (least, most, of): (&str, &str, &str),
    count: usize,
    path: &str,
    found: &mut Vec<Violation>,
) {
    let should = |word: &str, limit: &Value| {
        violation(path, format!("Invalid value: should have at {word} {limit} {of}"))
    };
    let limit = |name: &str| schema[name].as_u64().and_then(|limit| usize::try_from(limit).ok());
    if limit(least).is_some_and(|limit| count < limit) {
        found.push(should("least", &schema[least]));
    }
    if limit(most).is_some_and(|limit| count > limit) {
        found.push(should("most", &schema[most]));
    }
}

/// What is wrong with the type of a value, if anything.
fn wrong_type(schema: &Value, value: &Value) -> Option<String> {
    let (wanted, fits) = if schema["x-kubernetes-int-or-string"] == true {
        ("an integer or a string", value.is_string() || is_whole(value))
    } else {
        match schema["type"].as_str()? {
            "object" => ("an object", value.is_object()),
            "array" => ("an array", value.is_array()),
            "string" => ("a string", value.is_string()),
            "boolean" => ("a boolean", value.is_boolean()),
            "integer" => ("an integer", is_whole(value)),
            "number" => ("a number", value.is_number()),
            _ => return None,
        }
    };
    let scalar = value.is_number() || value.is_boolean();
    let quotes = if wanted == "a string" && scalar { " (put it in quotes)" } else { "" };
    (!fits).then(|| format!("Invalid value: must be {wanted}, not {}{quotes}", type_of(value)))
}

fn is_whole(value: &Value) -> bool {
    value.is_i64() || value.is_u64()
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
