//! SQL that is specific to Postgres. Names of the server's own objects include their schema, so that no
//! object of a user with the same name is used, with any `search_path`.

/// An operator of the server's own. It binds more tightly than the usual comparisons do: what stands at
/// its sides needs parentheses where it is not a name, a literal or a call.
pub(super) fn operator(operator: &str) -> String {
    format!("OPERATOR(pg_catalog.{operator})")
}

/// An expression as text, by the output function of its type. A cast would take one that a user has
/// defined. `concat` makes an empty text of NULL; a row whose fields are all NULL is distinct from it.
pub(super) fn text(expression: &str) -> String {
    format!("CASE WHEN {expression} IS DISTINCT FROM NULL THEN pg_catalog.concat({expression}) END")
}

/// As [`text`], of a value of type `"char"`: one byte, whose output before Postgres 15 is no UTF-8 if it is above 127.
/// This is how Postgres 15 and later print it: a backslash and three octal digits.
pub(super) fn char_text(expression: &str) -> String {
    let below = operator("<");
    format!(
        "CASE WHEN pg_catalog.int4({expression}) {below} 0 \
         THEN pg_catalog.encode(pg_catalog.charsend({expression}), 'escape') ELSE {} END",
        text(expression)
    )
}

/// As [`text`], in the order of its bytes.
pub(super) fn ordered_text(expression: &str) -> String {
    format!("({}) COLLATE pg_catalog.\"C\"", text(expression))
}
