use proptest::prelude::*;
use serde_json::Value;

use super::*;

fn nested(open: &str, close: &str, depth: u32) -> String {
    let depth = depth as usize;
    format!("{}1{}", open.repeat(depth), close.repeat(depth))
}

#[test]
fn json_valid_for_every_reader_is_accepted() {
    let longest = format!("0.{}", "1".repeat(NUMBER_BYTES_MAX - 2));
    let many = "9".repeat(308);
    for text in [
        "null",
        "true",
        "false",
        "0",
        "-0",
        "1.5",
        "1e308",
        "1E+5",
        "1e-400",
        "0e0",
        "\"\"",
        "\"a\u{7f}\"",
        r#""\"\\\/\b\f\n\r\t""#,
        r#""\u0000""#,
        r#""\ud83d\ude00""#,
        r#""\uD83D\uDE00\uffff""#,
        "\"\u{1F600}\u{2028}\"",
        "[]",
        "{}",
        " [ ] ",
        "\t\r\n{ }\n",
        "[1, 2,3]",
        r#"{"":1}"#,
        r#"{"a":1,"a":2}"#,
        r#"{"a" : [ {} , [ ] , "b" , null ], "c":{"d":false}}"#,
        &longest,
        &many,
        &nested("[", "]", DEPTH_MAX),
        &nested("{\"a\":", "}", DEPTH_MAX),
    ] {
        assert!(is_portable(text.as_bytes()), "{text}");
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a list of texts, one a line")]
fn json_refused_by_a_reader_is_refused() {
    let long = format!("0.{}", "1".repeat(NUMBER_BYTES_MAX - 1));
    let many = "9".repeat(310);
    for text in [
        "",
        " ",
        "\u{feff}{}",
        "\0",
        "{}\0",
        "\u{a0}1",
        "\u{c}1",
        "nul",
        "TRUE",
        "nullx",
        "NaN",
        "Infinity",
        "-Infinity",
        "a",
        "01",
        "-",
        "--1",
        "+1",
        ".5",
        "1.",
        "1e",
        "1e+",
        "0x10",
        "1 2",
        "1_0",
        "-a",
        "1e400",
        "-1e400",
        &long,
        &many,
        "\"",
        "\"a",
        "\"\\\"",
        "\"a\u{1}b\"",
        "\"a\tb\"",
        "\"a\nb\"",
        "\"\0\"",
        r#""\x""#,
        r#""\U0041""#,
        r#""\u12""#,
        r#""\u12g4""#,
        r#""\ud83d""#,
        r#""\ude00""#,
        r#""\ude00\ud83d""#,
        r#""\ud83dx""#,
        r#""\ud83d\n""#,
        r#""\ud83d\u0041""#,
        r#""\ud83d\ud83d\ude00""#,
        r#"{"\ud83d":1}"#,
        "'a'",
        "[",
        "]",
        "[1",
        "[1,",
        "[1,]",
        "[,1]",
        "[1 2]",
        "[1}",
        "{1}",
        "{",
        "}",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1",
        "{\"a\":1,}",
        "{\"a\":1]",
        "{a:1}",
        "{\"a\" 1}",
        "{,}",
        "{}{}",
        "{}x",
        "/* */1",
        "1//",
        &nested("[", "]", DEPTH_MAX + 1),
        &nested("{\"a\":", "}", DEPTH_MAX + 1),
        &nested("[", "]", 500_000),
    ] {
        assert!(!is_portable(text.as_bytes()), "{}", &text[..text.len().min(60)]);
    }
}

/// Values of a few levels.
fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 60, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            proptest::collection::hash_map(any::<String>(), inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn json_written_by_a_library_is_accepted(value in values(), pretty in any::<bool>()) {
        let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
        let text = text.expect("a text");
        prop_assert!(is_portable(text.as_bytes()), "{text}");
    }

    /// Words of the grammar in any order: what is taken, a library reads too.
    #[test]
    fn accepted_json_is_readable_by_a_library(words in proptest::collection::vec(
        prop_oneof![Just("{"), Just("}"), Just("["), Just("]"), Just(","), Just(":"), Just("\"a\""), Just("\"\\u00e9\""),
            Just("\"\\ud83d\""), Just("\\ude00"), Just("1"), Just("-0.5e3"), Just("1e999"), Just("0"), Just("null"), Just(" "),
            Just("\""), Just("\n")], 0..12)) {
        let text = words.concat();
        prop_assert_eq!(is_portable(text.as_bytes()), serde_json::from_str::<Value>(&text).is_ok(), "{}", text);
    }

    #[test]
    fn any_bytes_are_an_answer(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
        if is_portable(&bytes) && let Ok(text) = std::str::from_utf8(&bytes) {
            prop_assert!(serde_json::from_str::<Value>(text).is_ok(), "{text}");
        }
    }
}
