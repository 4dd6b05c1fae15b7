//! Values to try, by the type of a setting.

/// A setting as its server describes it.
#[derive(Debug, Clone)]
pub(crate) struct Described {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// The value that it has.
    pub(crate) value: String,
}

/// What values it takes.
#[derive(Debug, Clone)]
pub(crate) enum Kind {
    Bool,
    Number { min: String, max: String },
    Words(Vec<String>),
    Text,
}

/// Numbers between the ends, where harm hides: a limit of a row, a time of a millisecond or a second.
const BETWEEN: [&str; 3] = ["1", "2", "1000"];

impl Described {
    /// Values other than the one that it has.
    pub(crate) fn values(&self, texts: &[(&str, &[&str])]) -> Vec<String> {
        let own = texts.iter().find(|(name, _)| name.eq_ignore_ascii_case(&self.name));
        let mut values: Vec<String> = match (&self.kind, own) {
            (_, Some((_, values))) => values.iter().map(|value| (*value).to_owned()).collect(),
            (Kind::Bool, None) => {
                let on = ["on", "ON", "1", "true"].contains(&self.value.as_str());
                vec![if on { "off" } else { "on" }.to_owned()]
            }
            (Kind::Words(words), None) => words.clone(),
            (Kind::Number { min, max }, None) => numbers(min, max),
            (Kind::Text, None) => Vec::new(),
        };
        values.retain(|value| !value.eq_ignore_ascii_case(&self.value));
        values.dedup();
        values
    }
}

fn numbers(min: &str, max: &str) -> Vec<String> {
    let float = |text: &str| text.parse::<f64>().unwrap_or_default();
    let between =
        BETWEEN.iter().filter(|value| float(min) < float(value) && float(value) < float(max));
    std::iter::once(min)
        .chain(between.copied())
        .chain(std::iter::once(max))
        .map(str::to_owned)
        .collect()
}
