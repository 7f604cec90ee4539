//! Lists in the forms they are published in. The shapes are from the publishers' own descriptions and downloads; the
//! addresses are of documentation ranges.

use super::*;

fn form() -> Form {
    Form {
        format: Format::Auto,
        column: Column::First,
        field: String::new(),
        widest: [8, 19],
        max_entries: 1_000_000,
    }
}

fn listed(text: &str) -> Vec<String> {
    let parsed = parse(text.as_bytes(), &form()).unwrap();
    assert_eq!(parsed.rubbish, Named::default(), "{text}");
    parsed.list.iter().map(|target| target.to_string()).collect()
}

#[test]
fn spamhaus_drop_as_text_and_as_json_lines() {
    let text = "; Spamhaus DROP List 2026/11/21 - (c) 2026 The Spamhaus Project SLU\n\
                ; Last-Modified: Sat, 21 Nov 2026 08:45:02 GMT\n\
                203.0.113.0/24 ; SBL256894\n\
                198.51.100.0/25 ; SBL434604\n";
    assert_eq!(listed(text), ["198.51.100.0/25", "203.0.113.0/24"]);
    let json = "{\"cidr\":\"203.0.113.0/24\",\"sblid\":\"SBL256894\",\"rir\":\"apnic\"}\n\
                {\"cidr\":\"2001:db8:7::/48\",\"sblid\":\"SBL434604\",\"rir\":\"ripencc\"}\n\
                {\"type\":\"metadata\",\"timestamp\":1763714702,\"size\":105,\"records\":2,\"copyright\":\"(c) 2026\"}\n";
    assert_eq!(listed(json), ["203.0.113.0/24", "2001:db8:7::/48"]);
}

#[test]
fn firehol_netsets_and_their_comments() {
    let text = "#\n# firehol_level1\n#\n# ipv4 hash:net ipset\n\n203.0.113.7\r\n203.0.113.128/25\r\n";
    assert_eq!(listed(text), ["203.0.113.7", "203.0.113.128/25"]);
}

#[test]
fn abuse_ch_csv_with_a_header_in_a_comment() {
    let text = "################################################\n\
                # Feodo Tracker Botnet C2 IP Blocklist (CSV)   #\n\
                ################################################\n\
                #\n\
                # \"first_seen_utc\",\"dst_ip\",\"dst_port\",\"c2_status\",\"last_online\",\"malware\"\n\
                \"2026-01-14 11:04:08\",\"203.0.113.7\",\"443\",\"online\",\"2026-11-20\",\"Emotet\"\n\
                \"2026-02-14 11:04:08\",\"198.51.100.9\",\"8080\",\"offline\",\"2026-11-19\",\"QakBot, the second\"\n\
                # END (2 entries)\n";
    assert_eq!(listed(text), ["198.51.100.9", "203.0.113.7"]);
    let by_name = Form { format: Format::Csv, column: Column::Named("dst_ip".into()), ..form() };
    assert_eq!(parse(text.as_bytes(), &by_name).unwrap().list.len(), 2);
    let wrong = Form { column: Column::Named("src_ip".into()), ..by_name };
    assert_eq!(parse(text.as_bytes(), &wrong), Err(ParseError::NoColumn { name: "src_ip".into() }));

    let ports = "\"id\",\"ioc\"\n\"17\",\"203.0.113.7:8443\"\n\"18\",\"198.51.100.9:22\"\n";
    assert_eq!(listed(ports), ["198.51.100.9", "203.0.113.7"]);
}

#[test]
fn other_csvs() {
    assert_eq!(listed("ip,score\n203.0.113.7,90\n203.0.113.9,80\n"), ["203.0.113.7", "203.0.113.9"]);
    assert_eq!(listed("name;first seen;net\nx;2026;203.0.113.0/24\n"), ["203.0.113.0/24"]);
    let numbered = Form { format: Format::Csv, column: Column::Number(3), ..form() };
    let parsed = parse(b"192.0.2.1,x,203.0.113.7\n192.0.2.2,y\n192.0.2.3,z,w\n", &numbered).unwrap();
    assert_eq!(parsed.list.iter().next().unwrap().to_string(), "203.0.113.7");
    assert_eq!(parsed.rubbish.count, 2);
    assert_eq!(parsed.rubbish.first, ["line 2: `192.0.2.2,y`", "line 3: `w`"]);
}

#[test]
fn json_documents() {
    let records = r#"[{"ip_address":"203.0.113.7","port":443,"hostname":null,"as_name":"192.0.2.1"},
                      {"ip_address":"198.51.100.9","port":22,"hostname":"x","more":[1,2.5,true]}]"#;
    assert_eq!(listed(records), ["198.51.100.9", "203.0.113.7"]);
    let clouds = r#"{"syncToken":"1","prefixes":[{"ip_prefix":"203.0.113.0/24","region":"x"}],
                     "ipv6_prefixes":[{"ipv6_prefix":"2001:db8::/40"}]}"#;
    assert_eq!(listed(clouds), ["203.0.113.0/24", "2001:db8::/40"]);
    assert_eq!(listed(r#"["203.0.113.7", "203.0.113.9"]"#), ["203.0.113.7", "203.0.113.9"]);
    let meta = r#"{"hooks":["203.0.113.0/25"],"web":["198.51.100.0/24"],"verifiable":false}"#;
    let hooks = Form { field: "hooks".into(), ..form() };
    let parsed = parse(meta.as_bytes(), &hooks).unwrap();
    assert_eq!(parsed.list.iter().map(|t| t.to_string()).collect::<Vec<_>>(), ["203.0.113.0/25"]);
    assert!(matches!(parse(b"{\"ip\": \"203.0.113.7\", ", &form()), Err(ParseError::NotJson { .. })));
    assert!(matches!(parse(&b"[".repeat(100_000), &form()), Err(ParseError::NotJson { .. })));
}

#[test]
fn plain_lists_with_whatever_follows() {
    let text = "\u{feff}203.0.113.7 # a comment\n203.0.113.8\tseen twice\n203.0.113.9,90\n203.0.113.10 - a dash\n\
                // another comment\n203.0.113.16 - 203.0.113.31 a range\n[2001:db8::1]:80\n";
    assert_eq!(
        listed(text),
        ["203.0.113.7", "203.0.113.8", "203.0.113.9", "203.0.113.10", "203.0.113.16/28", "2001:db8::1"]
    );
    assert_eq!(listed("# nothing today\n"), [] as [&str; 0]);
}

#[test]
fn what_overlaps_is_merged() {
    assert_eq!(listed("203.0.113.7\n203.0.113.0/24\n203.0.113.7\n203.0.113.0/25\n"), ["203.0.113.0/24"]);
}

#[test]
fn rubbish_is_counted_and_named_and_the_rest_is_used() {
    let mut bytes = b"203.0.113.7\nevil.example.org\n\x1b[2J\xff\n300.1.1.1\n".to_vec();
    bytes.extend(b"x".repeat(1 << 20));
    bytes.extend(b"\n203.0.113.9\n0.0.0.0/0\n128.0.0.0/1\n::/0\n");
    let parsed = parse(&bytes, &form()).unwrap();
    assert_eq!(parsed.list.len(), 2);
    assert_eq!(parsed.rubbish.count, 4);
    assert_eq!(
        parsed.rubbish.first[..3],
        ["line 2: `evil.example.org`", r"line 3: `\x1b[2J\xff`", "line 4: `300.1.1.1`"]
    );
    assert!(parsed.rubbish.first[3].len() < 100, "{}", parsed.rubbish.first[3]);
    assert_eq!(parsed.too_wide.count, 3);
    assert_eq!(parsed.too_wide.first[0], "line 7: `0.0.0.0/0`");
}

#[test]
fn a_page_that_is_no_list_is_refused() {
    let page = b"<!DOCTYPE html>\n<html><body>Too many requests from 203.0.113.7</body></html>\n";
    let error = parse(page, &form()).unwrap_err().to_string();
    assert!(error.contains("nothing in it is an address") && error.contains("<!DOCTYPE"), "{error}");
}

#[test]
fn a_list_may_be_so_long_and_no_longer() {
    let form = Form { max_entries: 2, ..form() };
    assert_eq!(parse(b"203.0.113.1\n203.0.113.2\n", &form).unwrap().list.len(), 2);
    assert_eq!(
        parse(b"203.0.113.1\n203.0.113.2\n203.0.113.3\n", &form),
        Err(ParseError::TooMany { most: 2 })
    );
}

/// A million lines, of which each tenth is rubbish.
#[test]
fn a_million_lines_with_rubbish() {
    use std::fmt::Write;
    let mut text = String::new();
    for n in 0..1_000_000_u32 {
        let address = std::net::Ipv4Addr::from_bits(0x1000_0000 + n);
        let _ = if n % 10 == 0 { writeln!(text, "{address}.rubbish") } else { writeln!(text, "{address}") };
    }
    let parsed = parse(text.as_bytes(), &form()).unwrap();
    assert_eq!((parsed.list.len(), parsed.rubbish.count), (900_000, 100_000));
    assert!(parsed.list.bytes() < 5 << 20);
}
