//! In: the innermost context of a Postgres error, and the statement that a function ran. Out: whether that
//! statement is part of a function's source. One that is built at run time may hold values of rows, and the
//! server's message quotes it. Bound: one error. Fails: never; what is not known to be source counts as built.

/// Statements of PL/pgSQL that the server plans and runs as they stand in the source. What they call reports
/// its errors within a context of its own (`SQL statement "..."`).
/// Source: `_SPI_execute_plan` and `plpgsql_stmt_typename` of Postgres 14 to 18.
const STATEMENTS: [&str; 2] = ["SQL statement", "PERFORM"];

/// Statements of PL/pgSQL that compute an expression, perhaps without a context of its own. The server parses a
/// built text as a command, which is not an expression.
const EXPRESSIONS: [&str; 7] = [
    "RETURN",
    "RETURN NEXT",
    "assignment",
    "IF",
    "CASE",
    "WHILE",
    "FOR with integer loop variable",
];

/// A text that is neither a command nor an expression.
const SYNTAX_ERROR: &str = "42601";

/// First words of all commands.
/// Source: chapter "SQL Commands" of the manual of Postgres 18.
const COMMANDS: &str = "abort alter analyse analyze begin call checkpoint close cluster comment commit copy create \
    deallocate declare delete discard do drop end execute explain fetch grant import insert listen load lock merge \
    move notify prepare reassign refresh reindex release reset revoke rollback savepoint security select set show \
    start table truncate unlisten update vacuum values with";

/// Whether the statement that was parsed is part of the source of a function: of one in SQL, whose body the
/// server parses before it runs, or of one in PL/pgSQL.
pub(super) fn is_parsed(innermost: &str, code: &str, inner: Option<&str>) -> bool {
    if innermost.starts_with("SQL function \"") {
        return ["\" during startup", "\" during inlining"]
            .iter()
            .any(|end| innermost.ends_with(end));
    }
    let kind =
        innermost.strip_prefix("PL/pgSQL function ").and_then(|rest| rest.rsplit_once(" at "));
    let Some((_, kind)) = kind else { return false };
    let is_expression = inner.is_some_and(|inner| !is_command(inner)) && code != SYNTAX_ERROR;
    STATEMENTS.contains(&kind) || EXPRESSIONS.contains(&kind) && is_expression
}

/// Whether a text may be a command: by its first word, after parentheses and comments.
fn is_command(text: &str) -> bool {
    let start = text.trim_start_matches(|it: char| it.is_whitespace() || it == '(' || it == ';');
    let word =
        start.split(|it: char| !it.is_alphanumeric() && it != '_').next().unwrap_or_default();
    let comment = start.starts_with("--") || start.starts_with("/*");
    comment || COMMANDS.split(' ').any(|command| command.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(kind: &str, inner: &str) -> bool {
        let line = format!("PL/pgSQL function s.\"f at RETURN\"(integer) line 3 at {kind}");
        is_parsed(&line, "42P01", Some(inner))
    }

    #[test]
    fn a_statement_that_stands_in_the_source_is_known_by_its_kind() {
        for kind in STATEMENTS {
            assert!(at(kind, "select n from gone"), "{kind}");
        }
        for kind in EXPRESSIONS {
            assert!(at(kind, "$1 in (select n from gone)"), "{kind}");
            assert!(at(kind, "x := gone.f(1)"), "{kind}");
            // a function of the expression may have built it
            for built in [
                "select 1",
                " ( (Select 1",
                "/* x */ select 1",
                "-- x\nselect 1",
                "lock table x",
                ";select 1",
            ] {
                assert!(!at(kind, built), "{kind}: {built}");
            }
            let line = format!("PL/pgSQL function f() line 3 at {kind}");
            assert!(!is_parsed(&line, SYNTAX_ERROR, Some("canary x")), "{kind}");
            assert!(!is_parsed(&line, "42P01", None), "{kind}");
        }
    }

    #[test]
    fn a_statement_that_may_be_built_is_not_shown_as_source() {
        for kind in [
            "EXECUTE",
            "FOR over EXECUTE statement",
            "RETURN QUERY",
            "OPEN",
            "FETCH",
            "FOR over cursor",
            "FOR over SELECT rows",
            "CALL",
            "RAISE",
            "GET DIAGNOSTICS",
            "MOVE",
            "CLOSE",
            "statement block",
        ] {
            assert!(!at(kind, "a in (select 1)"), "{kind}");
        }
        for line in [
            "PL/pgSQL function f() line 2 during statement block local variable initialization",
            "SQL function \"f\" statement 1",
            "SQL statement \"PL/pgSQL function f() line 3 at PERFORM\"",
            "PL/Python function \"f\" at PERFORM",
            "",
        ] {
            assert!(!is_parsed(line, "42P01", Some("a in (select 1)")), "{line}");
        }
    }
}
