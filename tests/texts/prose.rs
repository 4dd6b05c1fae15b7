//! Which string literals are sentences for people, and which are SQL, names or formats.

/// Parts that only SQL has, in lower case.
const SQL: [&str; 20] = [
    "@@",
    "::",
    "pg_catalog",
    "information_schema",
    "performance_schema",
    " from pg_",
    "(select ",
    "select ",
    " is null",
    " is not null",
    " order by",
    "group by",
    " union ",
    " as char",
    " join ",
    " = any",
    "start transaction",
    "set session",
    "set local",
    "set transaction",
];

/// Whether a literal is a sentence, or a clause of one.
pub(crate) fn is_prose(text: &str) -> bool {
    let lower = text.to_lowercase();
    let words = text.split_whitespace().filter(|word| is_word(word)).count();
    words >= 2
        && !begins_in_capitals(text)
        && !is_list(text)
        && !SQL.iter().any(|part| lower.contains(part))
}

/// Whether the text is a list of names.
fn is_list(text: &str) -> bool {
    text.len() > 150 && !text.contains([',', '.', ':', ';', '{'])
}

fn is_word(word: &str) -> bool {
    let letters = word.trim_matches(|letter: char| !letter.is_alphanumeric());
    letters.len() > 1 && letters.chars().all(|letter| letter.is_alphabetic() || letter == '\'')
}

/// Whether the text begins with two words in capitals, as a statement does.
fn begins_in_capitals(text: &str) -> bool {
    let capitals = |word: &str| word.len() > 1 && word.chars().all(|it| it.is_ascii_uppercase());
    text.split_whitespace().take(2).all(capitals)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_are_distinguished_from_statements_and_names() {
        for text in ["the table has no columns", "check {field}, or leave it out", "list uploads"] {
            assert!(is_prose(text), "{text}");
        }
        for text in ["select a from b where c", "LOCK TABLES t READ", "tidemark.dev/uid", "{a}/{b}"]
        {
            assert!(!is_prose(text), "{text}");
        }
    }
}
