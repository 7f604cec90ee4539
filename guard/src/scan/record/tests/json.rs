//! JSON: shapes that programs write, and `serde_json` as the judge of what is JSON and what it means.

use serde::de::IgnoredAny;
use serde_json::Value;

use super::*;

fn json(names: &[&str], line: &str) -> Option<Vec<String>> {
    values(Format::Json, names, line)
}

#[test]
fn fields_by_their_names() {
    // Nextcloud's `nextcloud.log` (config.sample.php, `log_type`): one object a line.
    let line = r#"{"reqId":"x1","level":2,"time":"2026-11-20T12:00:00+00:00","remoteAddr":"203.0.113.9","user":"--","app":"core","method":"POST","url":"\/login","message":"Login failed: \"root\" (Remote IP: 203.0.113.9)","userAgent":"curl\/8","version":"30.0.0.1","data":{"app":"core"}}"#;
    let names = ["remoteAddr", "level", "message", "url", "data.app", "data", "nothing"];
    let (fields, at) = read(Format::Json, &names, line.as_bytes()).unwrap();
    let expected = ["203.0.113.9", "2", "Login failed: \"root\" (Remote IP: 203.0.113.9)", "/login", "core"]
        .map(|text| Some(text.into()));
    assert_eq!(fields[..5], expected);
    assert_eq!(fields[5..], [None, None]);
    assert_eq!(at.as_deref(), Some("2026-11-20T12:00:00Z"));
}

#[test]
fn where_the_time_is() {
    for (line, expected) in [
        (r#"{"time":"2026-11-20T12:00:00.5Z"}"#, Some("2026-11-20T12:00:00Z")),
        (r#"{"ts":1795176000.5241024}"#, Some("2026-11-20T12:00:00Z")),
        (r#"{"timestamp":1795176000123}"#, Some("2026-11-20T12:00:00Z")),
        (r#"{"timestamp":"2026-11-20 12:00:00.123 Z"}"#, Some("2026-11-20T12:00:00Z")),
        (r#"{"@timestamp":"2026-11-20T13:00:00+01:00"}"#, Some("2026-11-20T12:00:00Z")),
        // MongoDB, structured logging.
        (r#"{"t":{"$date":"2026-11-20T12:00:00.123+00:00"},"s":"I"}"#, Some("2026-11-20T12:00:00Z")),
        (r#"{"time":"soon","ts":1795176000}"#, Some("2026-11-20T12:00:00Z")),
        (r#"{"time":"2026-11-20T12:00:00Z and more"}"#, None),
        (r#"{"time":12}"#, None),
        (r"{}", None),
    ] {
        assert_eq!(read(Format::Json, &["time"], line.as_bytes()).unwrap().1.as_deref(), expected, "{line}");
    }
}

#[test]
fn keys_with_dots_arrays_and_escapes() {
    let names = ["client.ip", "list.0", "list.0.a", "é"];
    for (line, expected) in [
        (r#"{"client":{"ip":"1"}}"#, ["1", "-", "-", "-"]),
        (r#"{"client.ip":"1","list":["a","b"]}"#, ["1", "a", "-", "-"]),
        (r#"{"list":[{"a":1,"b":2},{"a":3}]}"#, ["-", "-", "1", "-"]),
        (r#"{"list":[],"client":null}"#, ["-", "-", "-", "-"]),
        (r#"{"list":[[1],2]}"#, ["-", "-", "-", "-"]),
        (r#"{"cl\u0069ent":{"\u0069p":"\ud83d\ude00\t\/"}}"#, ["\u{1f600}\t/", "-", "-", "-"]),
        (r#"{"é":"a"}"#, ["-", "-", "-", "a"]),
        (r#"{"\u00e9":"\u00E9"}"#, ["-", "-", "-", "é"]),
        (" { \"client\" : { \"ip\" :\t1.5e+3 } } \r", ["1.5e+3", "-", "-", "-"]),
        (r#"{"client":{"ip":true}}"#, ["true", "-", "-", "-"]),
        (r#"{"client":{"ip":null}}"#, ["null", "-", "-", "-"]),
        (r#"{"client":{"ip":""}}"#, ["", "-", "-", "-"]),
        (r#"{"Client":{"ip":"1"},"client_ip":"2","x":{"client":{"ip":"3"}}}"#, ["-", "-", "-", "-"]),
    ] {
        assert_eq!(json(&names, line).as_deref(), Some(&expected.map(String::from)[..]), "{line}");
    }
}

#[test]
fn what_has_two_readings_is_no_record() {
    for line in [
        r#"{"a":"1","a":"2"}"#,
        r#"{"a":"1","\u0061":"2"}"#,
        r#"{"b":{"c":1},"b":{"d":2}}"#,
        r#"{"b":{"c":1},"b.c":2}"#,
        r#"{"b":{"c":1,"c":2}}"#,
        r#"{"a":{},"a":"2"}"#,
        r#"{"a":"1"} {"a":"2"}"#,
        r#"{"a":"1"}"}"#,
        r#"{"a":"1"},"#,
        r#"{"a":"1","b"#,
        r#"{"a":"\ud800"}"#,
        r#"{"a":"\udc00\ud800"}"#,
        r#"{"a":"\x22"}"#,
        "{\"a\":\"\u{1}\"}",
        r#"{"a":01}"#,
        r#"{"a":.5}"#,
        r#"{"a":1.}"#,
        r#"{"a":+1}"#,
        r#"{"a":NaN}"#,
        r#"{"a":1,}"#,
        r#"{"a":[1,]}"#,
        r"{'a':1}",
        r"{a:1}",
        r#"["a"]"#,
        r#""a""#,
        "",
        " ",
        "{",
    ] {
        assert_eq!(json(&["a", "b.c", "b.d"], line), None, "{line}");
    }
    // Nobody asks for these.
    assert!(json(&["a"], r#"{"x":1,"x":2,"y":"\ud800","a":"1"}"#).is_some());
}

#[test]
fn eight_levels_and_no_more() {
    let nested = |levels: usize| format!("{{\"a\":1,\"x\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
    assert!(json(&["a"], &nested(MAX_DEPTH - 1)).is_some());
    assert!(json(&["a"], &nested(MAX_DEPTH)).is_none());
    assert!(json(&["a"], &nested(1_000_000)).is_none());
}

#[test]
fn text_in_values_does_not_make_fields() {
    // An account that holds what looks like the end of a string and another field, as a JSON writer escapes it.
    let account = r#"x","addr":"10.1.1.2","y":"\"#;
    let line = serde_json::json!({"addr": "203.0.113.9", "account": account}).to_string();
    assert_eq!(json(&["addr", "account"], &line), Some(vec!["203.0.113.9".into(), account.into()]));
    // As one writes it that does not escape: the name comes twice.
    let line = format!(r#"{{"addr":"203.0.113.9","account":"{account}"}}"#);
    assert_eq!(json(&["addr"], &line), None);
}

/// Any JSON value, of keys that are asked for and others.
fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_filter("JSON has none", |n| n.is_finite()).prop_map(Value::from),
        "[ -~]{0,24}".prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        let key = prop_oneof![4 => "[abc]", 1 => "[ -~]{0,12}".prop_map(|key| key.replace('.', "_")), 1 => Just("\u{e9}\"\\".to_owned())];
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(key, inner, 0..6).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

const NAMES: [&str; 8] = ["a", "b", "a.b", "a.b.c", "b.c", "c.0", "c.0.a", "c.0.0"];

/// What `serde_json` finds at a dotted name: the text of a string, or a number as it was written.
fn at(value: &Value, name: &str) -> Option<String> {
    let mut value = value;
    for part in name.split('.') {
        value = match value {
            Value::Array(list) if part == "0" => list.first()?,
            Value::Object(map) => map.get(part)?,
            _ => return None,
        };
    }
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Array(_) | Value::Object(_) => None,
        other => Some(other.to_string()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn equals_serde_json(map in proptest::collection::btree_map("[abcx]", any_value(), 0..6), pretty: bool) {
        let value = Value::Object(map.into_iter().collect());
        let line = if pretty { serde_json::to_string_pretty(&value).unwrap() } else { value.to_string() };
        let (fields, _) = read(Format::Json, &NAMES, line.as_bytes()).unwrap();
        for (name, found) in NAMES.iter().zip(fields) {
            prop_assert_eq!(found, at(&value, name), "{} in {}", name, line);
        }
    }

    #[test]
    fn refuses_what_serde_json_refuses(map in proptest::collection::btree_map("[abcx]", any_value(), 0..4), edits in proptest::collection::vec((any::<prop::sample::Index>(), 0..3, prop_oneof![any::<u8>(), prop::sample::select(b"\"\\{}[]:,0-.eEu \x1f".to_vec())]), 1..3)) {
        let mut line = Value::Object(map.into_iter().collect()).to_string().into_bytes();
        for (at, how, byte) in edits {
            let at = at.index(line.len());
            match how {
                0 => line[at] = byte,
                1 => line.insert(at, byte),
                _ if line.len() > 1 => drop(line.remove(at)),
                _ => {}
            }
        }
        let is_json = serde_json::from_slice::<IgnoredAny>(&line).is_ok();
        // Fields asked for may come twice or be half a surrogate pair; then it is JSON, and no record.
        let read_any = read(Format::Json, &NAMES, &line);
        prop_assert!(is_json || read_any.is_none(), "{}", String::from_utf8_lossy(&line));
        let is_object = line.trim_ascii_start().first() == Some(&b'{');
        let read_none = read(Format::Json, &["nobody"], &line).is_some();
        prop_assert_eq!(read_none, is_json && is_object, "{}", String::from_utf8_lossy(&line));
        if let (Some((fields, _)), Ok(value)) = (read_any, serde_json::from_slice::<Value>(&line)) {
            for (name, found) in NAMES.iter().zip(fields) {
                let expected = at(&value, name);
                let number = found.as_ref().is_some_and(|text| text.parse::<f64>().is_ok());
                prop_assert!(found == expected || number && expected.is_some(), "{} in {}", name, String::from_utf8_lossy(&line));
            }
        }
    }
}
