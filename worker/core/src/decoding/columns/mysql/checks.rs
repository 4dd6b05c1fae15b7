//! Which columns a table's own checks make JSON, read out of what `SHOW CREATE TABLE` prints.
//!
//! MariaDB's `json` is a `longtext` whose column has the check `json_valid` of itself, and nothing else. The
//! server takes a column for JSON by that alone, and so does this: a check that says more or less
//! (`b = '' or json_valid(b)`), a check of the table, a default, a generated column's expression or a comment
//! make no column JSON.

/// A word of a definition. Texts and comments are none.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    /// A name in backquotes, without them.
    Name(String),
    /// A keyword, a name without quotes, a number.
    Word(String),
    /// A parenthesis, a comma, an operator.
    Sign(char),
    /// A text in quotes.
    Text,
}

impl Token {
    fn is_word(&self, word: &str) -> bool {
        matches!(self, Self::Word(found) if found.eq_ignore_ascii_case(word))
    }

    fn name(&self) -> Option<&str> {
        match self {
            Self::Name(name) | Self::Word(name) => Some(name),
            Self::Sign(_) | Self::Text => None,
        }
    }
}

/// The columns whose own check is `json_valid(<the column>)` and nothing else, by `definition`: the text of
/// `SHOW CREATE TABLE`. None of a view, or of a text that is not a definition.
pub fn json_columns(definition: &str) -> Vec<String> {
    let tokens = tokens(definition).unwrap_or_default();
    let Some(start) = tokens.iter().position(|token| *token == Token::Sign('(')) else {
        return Vec::new();
    };
    let head = &tokens[..start];
    if !head.first().is_some_and(|word| word.is_word("create"))
        || !head.iter().any(|word| word.is_word("table"))
    {
        return Vec::new();
    }
    let inside = group(&tokens[start..]).unwrap_or_default();
    items(inside).filter_map(json_column).map(str::to_owned).collect()
}

/// The column that an item of a definition makes JSON.
fn json_column(item: &[Token]) -> Option<&str> {
    let name = item.first()?.name()?;
    let mut at = 1;
    while let Some(token) = item.get(at) {
        let rest = &item[at..];
        if token.is_word("check") {
            let check = group(&rest[1..])?;
            return match check {
                [function, Token::Sign('('), argument, Token::Sign(')')]
                    if function.is_word("json_valid") && argument.name() == Some(name) =>
                {
                    Some(name)
                }
                _ => None,
            };
        }
        at += match token {
            Token::Sign('(') => group(rest)?.len() + 2,
            _ => 1,
        };
    }
    None
}

/// What stands between the parenthesis at the start and the one that closes it.
fn group(tokens: &[Token]) -> Option<&[Token]> {
    let mut depth = 0_usize;
    for (index, token) in tokens.iter().enumerate() {
        match token {
            Token::Sign('(') => depth += 1,
            Token::Sign(')') => depth = depth.checked_sub(1)?,
            _ => {}
        }
        if depth == 0 {
            return tokens.get(1..index);
        }
    }
    None
}

/// What the commas outside of parentheses part.
fn items(tokens: &[Token]) -> impl Iterator<Item = &[Token]> {
    let mut depth = 0_usize;
    tokens.split(move |token| {
        match token {
            Token::Sign('(') => depth += 1,
            Token::Sign(')') => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 0 && *token == Token::Sign(',')
    })
}

/// `None` where a quote or comment is left open.
fn tokens(text: &str) -> Option<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '`' => {
                let (name, length) = quoted(rest, '`')?;
                tokens.push(Token::Name(name));
                length
            }
            '\'' | '"' => {
                tokens.push(Token::Text);
                quoted(rest, first)?.1
            }
            '/' if rest.starts_with("/*") => rest.find("*/")? + 2,
            _ if is_word(first) => {
                let end = rest.find(|letter| !is_word(letter)).unwrap_or(rest.len());
                tokens.push(Token::Word(rest[..end].to_owned()));
                end
            }
            _ => {
                if !first.is_whitespace() {
                    tokens.push(Token::Sign(first));
                }
                first.len_utf8()
            }
        };
        rest = &rest[length..];
    }
    Some(tokens)
}

fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || matches!(letter, '_' | '$')
}

/// What stands in the quotes at the start, and its length with them. A doubled quote is one; in texts a
/// backslash escapes the character after it.
fn quoted(text: &str, quote: char) -> Option<(String, usize)> {
    let mut inside = String::new();
    let mut letters = text.char_indices().skip(1).peekable();
    while let Some((at, letter)) = letters.next() {
        if letter == '\\' && quote != '`' {
            letters.next()?;
        } else if letter != quote {
            inside.push(letter);
        } else if letters.next_if(|(_, next)| *next == quote).is_some() {
            inside.push(quote);
        } else {
            return Some((inside, at + 1));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As MariaDB 10.11 prints it.
    fn table(items: &[&str]) -> String {
        format!(
            "CREATE TABLE `t (x` (\n  {}\n) ENGINE=InnoDB COMMENT='json_valid(`c`)'",
            items.join(",\n  ")
        )
    }

    fn is_json(item: &str) -> bool {
        let found = json_columns(&table(&["`id` int(11) NOT NULL", item, "PRIMARY KEY (`id`)"]));
        assert!(found.is_empty() || found == ["b"], "{found:?}");
        !found.is_empty()
    }

    #[test]
    fn only_a_columns_check_of_itself_makes_it_json() {
        for item in [
            "`b` longtext CHARACTER SET utf8mb4 COLLATE utf8mb4_bin DEFAULT NULL CHECK (json_valid(`b`))",
            "`b` longtext DEFAULT '{\"it''s\": \"(\"}' COMMENT 'a, \\'b\\'' CHECK (json_valid(`b`))",
            "`b` longtext NOT NULL DEFAULT (concat('{',`id`,'}')) CHECK (json_valid(`b`))",
            "`b` longtext /*M!100301 COMPRESSED*/ DEFAULT NULL CHECK (json_valid(`b`))",
            "b longtext DEFAULT NULL CHECK (json_valid(b))",
        ] {
            assert!(is_json(item), "{item}");
        }
    }

    #[test]
    fn nothing_else_does() {
        for item in [
            "`b` longtext DEFAULT NULL",
            "`b` longtext DEFAULT NULL CHECK (`b` = '' or json_valid(`b`))",
            "`b` longtext DEFAULT NULL CHECK (json_valid(`b`) or `b` = '')",
            "`b` longtext DEFAULT NULL CHECK (json_valid(`b`) and octet_length(`b`) < 10)",
            "`b` longtext DEFAULT NULL CHECK (!json_valid(`b`))",
            "`b` longtext DEFAULT NULL CHECK (json_valid(`b`) = 0)",
            "`b` longtext DEFAULT NULL CHECK (json_valid(concat('[',`b`,']')))",
            "`b` longtext DEFAULT NULL CHECK (json_valid(`c`))",
            "`b` longtext DEFAULT NULL CHECK (json_valid('b'))",
            "`b` longtext DEFAULT NULL CHECK (`s`.`json_valid`(`b`))",
            "`b` longtext DEFAULT NULL COMMENT 'json_valid(`b`)'",
            "`b` longtext DEFAULT NULL COMMENT 'it\\'s CHECK (json_valid(`b`))'",
            "`b` longtext DEFAULT NULL COMMENT 'it''s CHECK (json_valid(`b`))'",
            "`b` longtext DEFAULT 'CHECK (json_valid(`b`))'",
            "`b` longtext GENERATED ALWAYS AS (if(json_valid(`c`),`c`,'')) VIRTUAL",
            "`b` longtext DEFAULT NULL,\n  CONSTRAINT `b` CHECK (json_valid(`b`))",
            "`b` longtext DEFAULT NULL,\n  CONSTRAINT `check` CHECK (json_valid(`b`))",
            "`b` longtext DEFAULT NULL /* CHECK (json_valid(`b`)) */",
            "`b` longtext CHECK (json_valid(`b`)",
        ] {
            assert!(!is_json(item), "{item}");
        }
    }

    #[test]
    fn odd_names_are_read_unchanged() {
        for (printed, name) in
            [("`a``b`", "a`b"), ("`a,(b`", "a,(b"), ("`check`", "check"), ("`a\\`", "a\\")]
        {
            let item = format!("{printed} longtext CHECK (json_valid({printed}))");
            assert_eq!(json_columns(&table(&[&item])), [name]);
        }
    }

    #[test]
    fn views_have_no_check() {
        for text in [
            "",
            "(",
            "CREATE ALGORITHM=UNDEFINED VIEW `v` AS select (`b`) AS `b` from `table`",
            "CREATE TABLE `t` (`b` longtext CHECK (json_valid(`b`))",
            "CREATE TABLE `t` (`b` longtext COMMENT 'x",
        ] {
            assert!(json_columns(text).is_empty(), "{text}");
        }
    }
}
