//! Names of functions in the context of an error, which may also hold statements with literals.

/// Longest name that is shown, in characters: of two identifiers and the types of some arguments.
const NAME_CHARACTERS_MAX: usize = 400;
/// Pairs of quotes of the server's languages.
const QUOTES: [(char, char); 5] = [('"', '"'), ('«', '»'), ('»', '«'), ('„', '“'), ('“', '”')];

/// The innermost function that a context of Postgres names, and the line that names it.
pub(super) fn function(context: &str) -> Option<(String, &str)> {
    context.lines().find_map(|line| {
        let named = if line.starts_with("PL/") {
            signature(line).or_else(|| quoted(line))
        } else if line.starts_with("SQL function") || line.starts_with("SQL-") {
            quoted(line)
        } else {
            None
        };
        named.map(|name| (name, line))
    })
}

/// `schema.name(types)` in a line of text.
fn signature(line: &str) -> Option<String> {
    let open = line.find('(')?;
    let close = open + line[open..].find(')')?;
    let before = &line[..open];
    let start = if let Some(quoted) = before.strip_suffix('"') {
        // a quoted name, which may hold blanks, perhaps after a schema
        let from = quoted.rfind('"')?;
        before[..from].rfind(' ').map_or(0, |at| at + 1)
    } else {
        before.rfind(' ').map_or(0, |at| at + 1)
    };
    let name = &line[start..=close];
    let plain = |c: char| c.is_alphanumeric() || "_$.,\"()[] ".contains(c);
    let fits =
        start < open && name.chars().count() <= NAME_CHARACTERS_MAX && name.chars().all(plain);
    fits.then(|| name.to_owned())
}

/// What stands in the first quotes of a line.
fn quoted(line: &str) -> Option<String> {
    let (at, close) = line.char_indices().find_map(|(at, c)| {
        QUOTES.iter().find(|(open, _)| *open == c).map(|(_, close)| (at + c.len_utf8(), *close))
    })?;
    let name = &line[at..at + line[at..].find(close)?];
    let fits = !name.is_empty() && name.chars().count() <= NAME_CHARACTERS_MAX;
    fits.then(|| name.to_owned())
}

/// Whether `message` is of this form; `%` stands for any text.
pub(super) fn has_shape(message: &str, shape: &str) -> bool {
    let mut parts = shape.split('%');
    let Some(mut rest) = parts.next().and_then(|first| message.strip_prefix(first)) else {
        return false;
    };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_names_its_innermost_function_and_never_a_statement() {
        let name = |context| function(context).map(|(name, _)| name);
        assert_eq!(
            name("PL/pgSQL function public.f(integer) line 3 at RAISE").as_deref(),
            Some("public.f(integer)")
        );
        assert_eq!(
            name("PL/pgSQL function s.\"my f\"(text,character varying) line 3 at RAISE").as_deref(),
            Some("s.\"my f\"(text,character varying)")
        );
        assert_eq!(
            name("PL/pgSQL-Funktion public.f(integer) Zeile 3 bei RAISE").as_deref(),
            Some("public.f(integer)")
        );
        assert_eq!(name("SQL function \"f\" statement 1").as_deref(), Some("f"));
        assert_eq!(name("SQL-Funktion »f« Anweisung 1").as_deref(), Some("f"));
        assert_eq!(name("PL/Perl function \"f\"").as_deref(), Some("f"));
        assert_eq!(
            name("SQL statement \"select canary(1)\"\nPL/pgSQL function f() line 1 at PERFORM")
                .as_deref(),
            Some("f()")
        );
        for none in [
            "",
            "parallel worker",
            "remote SQL command: SELECT canary(1)",
            "PL/pgSQL function 'x'(y) z",
        ] {
            assert_eq!(name(none), None, "{none}");
        }
    }

    #[test]
    fn a_message_pattern_matches_any_text_only_at_its_placeholders() {
        assert!(has_shape("Table 'a.b' doesn't exist", "Table '%' doesn't exist"));
        assert!(has_shape("Too many connections", "Too many connections"));
        assert!(has_shape(
            "Got error 28 \"x\" from storage engine InnoDB",
            "Got error % from storage engine%"
        ));
        for (message, shape) in [
            ("canary", "Table '%' doesn't exist"),
            ("Table 'a.b' doesn't exist: canary", "Table '%' doesn't exist"),
            ("Too many connections canary", "Too many connections"),
            ("", "x%"),
        ] {
            assert!(!has_shape(message, shape), "{message}");
        }
    }
}
