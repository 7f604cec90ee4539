//! logfmt as Grafana, Traefik and Go's `log/slog` write it.

use super::*;

fn logfmt(names: &[&str], line: &str) -> Option<Vec<String>> {
    values(Format::Logfmt, names, line)
}

#[test]
fn real_shapes() {
    let grafana = r#"logger=context userId=0 orgId=0 uname= t=2026-11-20T12:00:00.123456789Z level=info msg="Request Completed" method=POST path=/login status=401 remote_addr=203.0.113.9 time_ms=91 duration=91.123ms size=56 referer=http://localhost/login handler=/login"#;
    let (fields, at) = read(
        Format::Logfmt,
        &["msg", "status", "remote_addr", "uname", "userId", "none"],
        grafana.as_bytes(),
    )
    .unwrap();
    let expected = ["Request Completed", "401", "203.0.113.9", "", "0"].map(|text| Some(text.to_owned()));
    assert_eq!((&fields[..5], &fields[5]), (&expected[..], &None));
    assert_eq!(at.as_deref(), Some("2026-11-20T12:00:00Z"));

    let slog = r#"time=2026-11-20T13:00:00.000+01:00 level=WARN msg="login failed" user="a \"b\" c\\" req.addr=203.0.113.9 n=3"#;
    let (fields, at) = read(Format::Logfmt, &["user", "req.addr"], slog.as_bytes()).unwrap();
    assert_eq!(fields, [Some("a \"b\" c\\".into()), Some("203.0.113.9".into())]);
    assert_eq!(at.as_deref(), Some("2026-11-20T12:00:00Z"));

    let traefik = r#"time="2026-11-20T12:00:00Z" level=error msg="x" entryPointName=web"#;
    assert_eq!(
        read(Format::Logfmt, &["level"], traefik.as_bytes()).unwrap().1.as_deref(),
        Some("2026-11-20T12:00:00Z")
    );
}

#[test]
fn escapes_of_go() {
    let line = r#"a="\a\b\f\n\r\t\v\\\"\x1b\u00e9\U0001f600\ud83d\ude00" b="""#;
    assert_eq!(logfmt(&["a"], line).unwrap()[0], "\x07\x08\x0c\n\r\t\x0b\\\"\x1b\u{e9}\u{1f600}\u{1f600}");
    for wrong in [r#"a="\q""#, r#"a="\x2""#, r#"a="\ud800""#, r#"a="\U00110000""#, r#"a="\"#, r#"a="\""#] {
        assert_eq!(logfmt(&["a"], wrong), None, "{wrong}");
    }
    // Nobody asks for it, and it ends where it seems to.
    assert!(logfmt(&["b"], r#"a="\q" b=1"#).is_some());
}

#[test]
fn flags_blanks_and_equal_signs() {
    let names = ["a", "b", "c"];
    for (line, expected) in [
        ("a=1 b=2 c=3", ["1", "2", "3"]),
        ("  a=1   c=3  ", ["1", "-", "3"]),
        ("a b=2", ["", "2", "-"]),
        ("a= b=2", ["", "2", "-"]),
        ("a=\"\" b=2", ["", "2", "-"]),
        ("a=/x?y=z&b=5", ["/x?y=z&b=5", "-", "-"]),
        ("some words a=1", ["1", "-", "-"]),
        ("x=1 x=2 a=1", ["1", "-", "-"]),
    ] {
        assert_eq!(logfmt(&names, line).as_deref(), Some(&expected.map(String::from)[..]), "{line}");
    }
}

#[test]
fn what_has_two_readings_is_no_record() {
    for line in [
        "",
        "   ",
        "words alone",
        "a=1 a=2",
        "a=1 b=x a=\"2\"",
        "a a=1",
        "a=\"1",
        "a=\"1\"b=2",
        "a=1\"2",
        "=1",
        "a=1 =2",
        "\"a\"=1",
        "a\"b=1",
        "a=\"1\\\"",
    ] {
        assert_eq!(logfmt(&["a"], line), None, "{line}");
    }
}

#[test]
fn text_in_values_does_not_make_fields() {
    let names = ["addr", "user"];
    // The user sends `x" addr=10.1.1.2 y="`; a writer that quotes escapes the quotes.
    let quoted = r#"user="x\" addr=10.1.1.2 y=\"" addr=203.0.113.9"#;
    assert_eq!(logfmt(&names, quoted).unwrap(), ["203.0.113.9", "x\" addr=10.1.1.2 y=\""]);
    // One that does not quote lets the name come twice.
    assert_eq!(logfmt(&names, "user=x addr=10.1.1.2 addr=203.0.113.9"), None);
}

proptest! {
    #[test]
    fn reads_what_is_written(values in proptest::collection::vec("[ -~\\t\u{e9}]{0,20}", 1..5)) {
        let names = ["k0", "k1", "k2", "k3"];
        let line: Vec<String> = values.iter().enumerate().map(|(index, value)| {
            let plain = !value.contains(['"', ' ', '\\', '=', '\t']);
            if plain { format!("k{index}={value}") } else { format!("k{index}={value:?}") }
        }).collect();
        // Rust escapes a single quote nowhere and a tab as Go does.
        let line = line.join(" ");
        let found = logfmt(&names[..values.len().min(4)], &line).unwrap();
        prop_assert_eq!(&found[..], &values[..values.len().min(4)], "{}", line);
    }
}
