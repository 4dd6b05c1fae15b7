use super::*;

/// Every kind of statement whose text is not known to be source: a static one may call a server function
/// that runs dynamic SQL.
#[test]
fn message_about_a_statement_run_by_a_function_is_withheld() {
    const KINDS: [&str; 24] = [
        "statement block",
        "assignment",
        "IF",
        "CASE",
        "LOOP",
        "WHILE",
        "FOR with integer loop variable",
        "FOR over SELECT rows",
        "FOR over cursor",
        "FOREACH over array",
        "EXIT",
        "RETURN",
        "RETURN NEXT",
        "RETURN QUERY",
        "RAISE",
        "ASSERT",
        "CALL",
        "EXECUTE",
        "FOR over EXECUTE statement",
        "GET DIAGNOSTICS",
        "OPEN",
        "FETCH",
        "MOVE",
        "CLOSE",
    ];
    let lines = KINDS.iter().map(|kind| format!("PL/pgSQL function s.f() line 3 at {kind}"));
    let others = [
        "PL/pgSQL function s.f() line 2 during statement block local variable initialization",
        "SQL function \"s.f()\" statement 1",
        "PL/Python function \"s.f()\"",
        "PL/Perl function \"s.f()\"",
        "SQL statement \"x\"\nSQL function \"s.f()\" during startup",
        "PL/pgSQL function s.f() line 3 at RETURN\nSQL function \"g\" during startup",
    ];
    for context in lines.chain(others.map(str::to_owned)) {
        let built = postgres::Answer {
            context: Some(&context),
            position: Position::Function,
            file: Some("parse_relation.c"),
            ..said("42703", "column \"canary\" does not exist")
        };
        let text = postgres::failure("read", &built).to_string();
        assert!(!text.contains("canary") && text.contains("s.f()"), "{text}");
        assert!(text.contains("server's log"), "{text}");
    }
    // no function is named: the server's own functions name none
    let built = postgres::Answer {
        position: Position::Function,
        file: Some("parse_relation.c"),
        ..said("42703", "column \"canary\" does not exist")
    };
    assert!(!postgres::failure("read", &built).to_string().contains("canary"));
}
