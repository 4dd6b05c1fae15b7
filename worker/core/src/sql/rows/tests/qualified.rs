//! Every statement of Postgres names the schema of each function, type, collation and relation of the
//! server's own. A statement that holds a condition does so for operators too: only such a statement runs
//! under another `search_path` than the empty one, with which it is pinned in one message.

use super::*;

/// The texts without a condition; that nothing else has some is a test of the worker.
const SOURCES: [&str; 3] = [
    include_str!("../statements.rs"),
    include_str!("../relation_statements.rs"),
    include_str!("../../../settings/postgres.rs"),
];

/// Words in small letters that the grammar itself knows: no schema is searched for them.
const GRAMMAR: [&str; 5] = ["coalesce", "greatest", "least", "nullif", "interval"];

/// A part of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    /// A keyword, in capital letters as everywhere in Tidemark.
    Keyword(String),
    /// A name that is not quoted.
    Name(String),
    /// A quoted name.
    Quoted,
    /// A literal text.
    Text,
    /// A number, or a parameter.
    Number,
    /// What a format puts in.
    Gap,
    Cast,
    Dot,
    Comma,
    Open,
    Close,
    Operator(String),
    /// Brackets, semicolons and backslashes.
    Other,
}

use Token::{Cast, Close, Comma, Dot, Gap, Keyword, Name, Open, Operator, Quoted, Text};

/// Where a quoted part ends: its quotes are doubled inside.
fn quoted_end(letters: &[char], from: usize) -> usize {
    let quote = letters[from];
    let mut at = from + 1;
    while at < letters.len() && (letters[at] != quote || letters.get(at + 1) == Some(&quote)) {
        at += if letters[at] == quote { 2 } else { 1 };
    }
    at + 1
}

fn tokens(statement: &str) -> Vec<Token> {
    let letters: Vec<char> = statement.chars().collect();
    let span = |from: usize, is: &dyn Fn(char) -> bool| {
        letters[from..].iter().position(|c| !is(*c)).map_or(letters.len(), |length| from + length)
    };
    let (mut found, mut at) = (Vec::new(), 0);
    while let Some(now) = letters.get(at) {
        let (token, end) = match now {
            c if c.is_whitespace() => {
                at += 1;
                continue;
            }
            '\'' => (Text, quoted_end(&letters, at)),
            '"' => (Quoted, quoted_end(&letters, at)),
            '{' => (Gap, span(at, &|c| c != '}') + 1),
            c if c.is_ascii_digit() || *c == '$' => {
                (Token::Number, span(at + 1, &|c| c.is_ascii_digit() || c == '.'))
            }
            c if c.is_alphabetic() || *c == '_' => {
                let end = span(at, &|c| c.is_alphanumeric() || c == '_');
                let word: String = letters[at..end].iter().collect();
                let capital = word.chars().any(char::is_lowercase);
                (if capital { Name(word) } else { Keyword(word) }, end)
            }
            '(' => (Open, at + 1),
            ')' => (Close, at + 1),
            ',' => (Comma, at + 1),
            '.' => (Dot, at + 1),
            ':' if letters.get(at + 1) == Some(&':') => (Cast, at + 2),
            c if "+-*/<>=~!@#%^&|?".contains(*c) => {
                let end = span(at, &|c| "+-*/<>=~!@#%^&|?".contains(c));
                (Operator(letters[at..end].iter().collect()), end)
            }
            _ => (Token::Other, at + 1),
        };
        found.push(token);
        at = end;
    }
    found
}

/// Where the parenthesis closes that opens at `open`.
fn closes(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        match token {
            Open => depth += 1,
            Close if depth == 1 => return at,
            Close => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    tokens.len()
}

fn is_keyword(token: Option<&Token>, words: &[&str]) -> bool {
    matches!(token, Some(Keyword(word)) if words.contains(&word.as_str()))
}

/// The tokens that begin a relation: after FROM and JOIN, and after each comma of the list of FROM.
fn relations(tokens: &[Token]) -> Vec<usize> {
    let mut found = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        if is_keyword(Some(token), &["JOIN"]) {
            found.push(at + 1);
        }
        let is_distinct = at > 0 && is_keyword(tokens.get(at - 1), &["DISTINCT"]);
        if !is_keyword(Some(token), &["FROM"]) || is_distinct {
            continue;
        }
        found.push(at + 1);
        let ends = ["WHERE", "GROUP", "ORDER", "LIMIT", "UNION", "ON", "JOIN", "CROSS", "LEFT"];
        let mut next = at + 1;
        while next < tokens.len() && tokens[next] != Close && !is_keyword(tokens.get(next), &ends) {
            match tokens[next] {
                Comma => found.push(next + 1),
                Open => next = closes(tokens, next),
                _ => {}
            }
            next += 1;
        }
    }
    found
}

/// The names that a statement gives to its own queries: `name (columns) AS (` or `name AS (`.
fn own_queries(tokens: &[Token]) -> Vec<&str> {
    let is_query = |at: usize| {
        let at = if tokens.get(at) == Some(&Open) { closes(tokens, at) + 1 } else { at };
        is_keyword(tokens.get(at), &["AS"]) && tokens.get(at + 1) == Some(&Open)
    };
    let named = tokens.iter().enumerate().filter(|(at, _)| is_query(at + 1));
    named
        .filter_map(|(_, token)| if let Name(name) = token { Some(name.as_str()) } else { None })
        .collect()
}

/// What a statement finds by the path alone, operators aside.
fn unqualified(statement: &str) -> Vec<String> {
    let tokens = tokens(statement);
    let own = own_queries(&tokens);
    let is_own_schema = |at: usize| {
        tokens.get(at) == Some(&Name("pg_catalog".to_owned())) && tokens.get(at + 1) == Some(&Dot)
    };
    let said = |at: usize| format!("{:?}", &tokens[at.saturating_sub(3)..tokens.len().min(at + 4)]);
    let mut found = Vec::new();
    for at in relations(&tokens) {
        let fits = match tokens.get(at) {
            Some(Open | Quoted | Gap) => true,
            Some(Keyword(word)) => ["LATERAL", "ROWS"].contains(&word.as_str()),
            Some(Name(name)) => own.contains(&name.as_str()) || is_own_schema(at),
            _ => false,
        };
        if !fits {
            found.push(format!("relation: {}", said(at)));
        }
    }
    for (at, token) in tokens.iter().enumerate() {
        let before = at.checked_sub(1).and_then(|at| tokens.get(at));
        let typed = *token == Cast
            || is_keyword(Some(token), &["COLLATE", "TABLESAMPLE"])
            || is_keyword(Some(token), &["AS"]) && is_cast(&tokens, at);
        if typed && !is_own_schema(at + 1) {
            found.push(format!("type or collation: {}", said(at)));
        }
        let Name(name) = token else { continue };
        let is_called = tokens.get(at + 1) == Some(&Open) && before != Some(&Dot);
        let is_alias =
            matches!(before, Some(Close | Name(_) | Quoted)) || is_keyword(before, &["AS"]);
        if is_called
            && !is_alias
            && !own.contains(&name.as_str())
            && !GRAMMAR.contains(&name.as_str())
        {
            found.push(format!("function: {}", said(at)));
        }
        if tokens.get(at + 1) == Some(&Text) && !GRAMMAR.contains(&name.as_str()) {
            found.push(format!("type of a literal: {}", said(at)));
        }
    }
    found
}

/// Whether an AS is that of `CAST(... AS ...)`.
fn is_cast(tokens: &[Token], at: usize) -> bool {
    let mut depth = 0_usize;
    for before in (0..at).rev() {
        match tokens[before] {
            Close => depth += 1,
            Open if depth == 0 => {
                return before > 0 && is_keyword(tokens.get(before - 1), &["CAST"]);
            }
            Open => depth -= 1,
            _ => {}
        }
    }
    false
}

/// Operators that a statement finds by the path, and words that stand for some.
fn unqualified_operators(statement: &str) -> Vec<String> {
    let tokens = tokens(statement);
    let mut found = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let before = at.checked_sub(1).and_then(|at| tokens.get(at));
        let after = tokens.get(at + 1);
        let bad = match token {
            // of count(*); a sign; OPERATOR(pg_catalog.=)
            Operator(sign) if sign == "*" => before != Some(&Open) || after != Some(&Close),
            Operator(_) => before != Some(&Dot) && before != Some(&Name("pg_catalog".to_owned())),
            Keyword(word) if word == "CASE" => !is_keyword(after, &["WHEN"]),
            // with NULL it is a test of NULL, which is not an operator
            Keyword(word) if word == "DISTINCT" => !is_keyword(tokens.get(at + 2), &["NULL"]),
            Keyword(word) => {
                ["IN", "ANY", "SOME", "ALL", "LIKE", "ILIKE", "SIMILAR", "BETWEEN", "USING"]
                    .contains(&word.as_str())
            }
            _ => false,
        };
        if bad && !(matches!(token, Operator(_)) && before == Some(&Dot)) {
            found.push(format!(
                "operator: {:?}",
                &tokens[at.saturating_sub(3)..tokens.len().min(at + 4)]
            ));
        }
    }
    found
}

/// The literals of a source file, without those of its comments and tests.
fn literals(source: &str) -> Vec<String> {
    let source = source.split("#[cfg(test)]").next().unwrap_or_default();
    let code: Vec<_> = source.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let code = code.join("\n").replace("'\"'", "");
    let (mut found, mut literal) = (Vec::new(), None::<String>);
    let mut letters = code.chars();
    while let Some(now) = letters.next() {
        match (&mut literal, now) {
            (Some(_), '"') => found.extend(literal.take()),
            (Some(text), '\\') => text.extend(letters.next().filter(|next| *next != '\n')),
            (Some(text), now) => text.push(now),
            (None, '"') => literal = Some(String::new()),
            (None, _) => {}
        }
    }
    found
}

#[test]
fn every_fixed_statement_qualifies_its_names() {
    let mut statements = 0;
    for literal in SOURCES.iter().flat_map(|source| literals(source)) {
        let found = unqualified(&literal);
        assert!(found.is_empty(), "{found:#?} in {literal}");
        statements += usize::from(literal.contains("pg_catalog."));
    }
    assert!(statements > 30, "{statements} statements were looked at");
}

/// Every statement that may hold a condition, over windows, keys and ways to cut.
fn with_condition() -> Vec<String> {
    let table = TableName { schema: "s".to_owned(), table: "t".to_owned() };
    let condition = "true";
    let mut statements = vec![
        filter_statement(Engine::Postgres, &table, condition),
        filtered_statement(Engine::Postgres, &table, condition),
        filter_meaning_statement(&table, condition),
    ];
    let columns = [
        column("i", oids::INT4, Target::Int32),
        column("t", oids::TEXT, Target::Text),
        column("u", oids::UUID, Target::Uuid),
        column("x", 600, Target::AsText),
        column("at", oids::TIMESTAMPTZ, Target::TimestampTz),
    ];
    let literals = ["5", "a", "123e4567-e89b-12d3-a456-426655440000", "a", LOW];
    for unenforced in [false, true] {
        for (mode, low) in
            [(Mode::FE, Some(LOW)), (Mode::PE, None), (Mode::PE, Some(LOW)), (Mode::Reingest, None)]
        {
            for (column, literal) in columns.iter().zip(literals) {
                for nulls in [NullPolicy::Include, NullPolicy::Exclude] {
                    let partitioning = by(Strategy::Quantile, vec![column.clone()]).partitioning;
                    let mut plan = Plan {
                        partitioning,
                        columns: columns.to_vec(),
                        filter: Some(condition.to_owned()),
                        unenforced,
                        table: table.clone(),
                        ..plan(mode, low, Some(HIGH), nulls)
                    };
                    plan.layout.partition_by =
                        columns.iter().map(|column| column.name.clone()).collect();
                    plan.layout.sorted = unenforced;
                    statements.extend(of_plan(&plan, column, literal));
                }
            }
        }
    }
    statements
}

fn of_plan(plan: &Plan, column: &Column, literal: &str) -> Vec<String> {
    let (from, to) = (Some(literal.to_owned()), Some(literal.to_owned()));
    let mut statements = vec![
        count_statement(plan),
        any_row_statement(plan),
        estimate_statement(plan),
        hive_directories_statement(plan, 9),
    ];
    for part in [
        Some(Part::Nulls),
        Some(Part::Hash { class: 1, classes: 3 }),
        Some(Part::Blocks { first: 1, end: Some(2) }),
        None,
    ] {
        for (from, to) in
            [(from.clone(), to.clone()), (from.clone(), None), (None, to.clone()), (None, None)]
        {
            for nulls in [false, true] {
                let partition =
                    PlannedPartition { from: from.clone(), to: to.clone(), nulls, part };
                statements.push(read_statement(plan, &partition));
                statements.push(estimate_span_statement(plan, column, Some(&partition)));
            }
        }
    }
    for sample_method in [SampleMethod::All, SampleMethod::Blocks(1.0), SampleMethod::Rows(0.5)] {
        statements.push(sample_statement(plan, column, sample_method, 9));
    }
    let filter = plan.filter.as_deref();
    let mut statements: Vec<_> =
        statements.into_iter().map(|it| it.expect("a statement")).collect();
    statements.push(extremes_statement(Engine::Postgres, &plan.table, column, filter));
    statements.push(null_statement(Engine::Postgres, &plan.table, column, filter, plan.unenforced));
    statements
}

#[test]
fn every_statement_with_a_condition_names_the_schema_of_its_operators_too() {
    let statements = with_condition();
    assert!(statements.len() > 1000, "{}", statements.len());
    for statement in statements {
        let mut found = unqualified(&statement);
        found.extend(unqualified_operators(&statement));
        assert!(found.is_empty(), "{found:#?} in {statement}");
    }
}

#[test]
fn names_resolved_by_the_search_path_are_found_in_a_statement() {
    for bad in [
        "SELECT lower(a) FROM pg_catalog.pg_class",
        "SELECT a::text FROM pg_catalog.pg_class",
        "SELECT CAST(a AS int8) FROM pg_catalog.pg_class",
        "SELECT 1 FROM pg_class",
        "SELECT 1 FROM pg_catalog.pg_class c JOIN pg_namespace n ON true",
        "SELECT 1 FROM pg_catalog.pg_class c, pg_namespace n",
        "SELECT date '2024-01-01'",
        "SELECT a COLLATE \"C\" FROM pg_catalog.pg_class",
        "SELECT (SELECT max(a) FROM pg_catalog.pg_class)",
        "SELECT 1 FROM unnest($1) AS s (a)",
    ] {
        assert!(!unqualified(bad).is_empty(), "{bad}");
    }
    for good in [
        "WITH RECURSIVE t (oid) AS (SELECT $1::pg_catalog.oid UNION SELECT x.y FROM t) SELECT oid FROM t",
        "SELECT coalesce(pg_catalog.max(c.a), 0) FROM (SELECT 1 AS a) c, pg_catalog.unnest($1) AS s (b)",
        "SELECT $1 - interval '1 hour' IS DISTINCT FROM NULL",
    ] {
        assert_eq!(unqualified(good), Vec::<String>::new(), "{good}");
    }
    for bad in [
        "SELECT 1 = 2",
        "SELECT a IN (1)",
        "SELECT CASE a WHEN 1 THEN 2 END",
        "SELECT a IS DISTINCT FROM b",
    ] {
        assert!(!unqualified_operators(bad).is_empty(), "{bad}");
    }
    let good = "SELECT pg_catalog.count(*), a OPERATOR(pg_catalog.<=) '1', a IS DISTINCT FROM NULL";
    assert_eq!(unqualified_operators(good), Vec::<String>::new());
}
