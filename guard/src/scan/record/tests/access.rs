//! Access logs: each server's own format, and users, requests and agents that imitate one.

use super::*;
use crate::scan::record::access::NAMES;

/// The fields of a line that it has, as `name=text`.
fn access(line: &str) -> Option<Vec<String>> {
    let names: Vec<&str> = NAMES.iter().map(|name| std::str::from_utf8(name).unwrap()).collect();
    let (fields, _) = read(Format::Access, &names, line.as_bytes())?;
    let named = names.iter().zip(fields);
    Some(named.filter_map(|(name, text)| Some(format!("{name}={}", text?))).collect())
}

#[track_caller]
fn assert_access(line: &str, expected: &[&str]) {
    assert_eq!(
        access(line).as_deref(),
        Some(&expected.iter().map(ToString::to_string).collect::<Vec<_>>()[..]),
        "{line}"
    );
}

const STAMP: &str = "[20/Nov/2026:12:00:00 +0000]";

#[test]
fn common_log_format_and_its_relatives() {
    // The examples of Apache's mod_log_config manual, with other addresses.
    assert_access(
        r#"192.0.2.1 - frank [20/Nov/2026:12:00:00 -0700] "GET /apache_pb.gif?a=b HTTP/1.0" 200 2326"#,
        &[
            "client=192.0.2.1",
            "user=frank",
            "method=GET",
            "path=/apache_pb.gif",
            "query=a=b",
            "protocol=HTTP/1.0",
            "status=200",
        ],
    );
    let combined = r#""GET / HTTP/1.1" 401 5 "http://example.org/" "Mozilla/5.0 (X11; \"q\")""#;
    let fields = [
        "method=GET",
        "path=/",
        "protocol=HTTP/1.1",
        "status=401",
        r#"agent=Mozilla/5.0 (X11; \"q\")"#,
        "referrer=http://example.org/",
    ];
    let with = |front: &[&'static str], fields: &[&'static str]| [front, fields].concat();
    // Apache and nginx: combined.
    assert_access(&format!("192.0.2.1 - - {STAMP} {combined}"), &with(&["client=192.0.2.1"], &fields));
    assert_access(&format!("2001:db8::1 - - {STAMP} {combined}"), &with(&["client=2001:db8::1"], &fields));
    // Apache: vhost_combined, by name and by address.
    let hosted = |host: &'static str| [&["client=192.0.2.1"], &fields[..1], &[host], &fields[1..]].concat();
    assert_access(
        &format!("www.example.org:443 192.0.2.1 - - {STAMP} {combined}"),
        &hosted("host=www.example.org"),
    );
    assert_access(&format!("198.51.100.7:80 192.0.2.1 - - {STAMP} {combined}"), &hosted("host=198.51.100.7"));
    assert_access(
        &format!("[2001:db8::7]:80 192.0.2.1 - - {STAMP} {combined}"),
        &hosted("host=[2001:db8::7]"),
    );
    // lighttpd: the host in place of the identity.
    assert_access(
        &format!("192.0.2.1 www.example.org - {STAMP} {combined}"),
        &hosted("host=www.example.org"),
    );
    assert_access(&format!("192.0.2.1 198.51.100.7:8080 - {STAMP} {combined}"), &hosted("host=198.51.100.7"));
    assert_access(&format!("192.0.2.1 198.51.100.7 - {STAMP} {combined}"), &hosted("host=198.51.100.7"));
    // nginx's `main` and Traefik: more behind.
    assert_access(&format!("192.0.2.1 - - {STAMP} {combined} \"-\""), &with(&["client=192.0.2.1"], &fields));
    assert_access(
        &format!(
            r#"192.0.2.1 - - {STAMP} "GET / HTTP/2.0" 404 19 "-" "-" 17 "web@docker" "http://172.18.0.2:80" 0ms"#
        ),
        &["client=192.0.2.1", "method=GET", "path=/", "protocol=HTTP/2.0", "status=404"],
    );
    // HAProxy: `option httplog clf`.
    assert_access(
        &format!(
            r#"192.0.2.1 - - {STAMP} "GET / HTTP/1.1" 503 212 "" "" 51234 123 "web" "web" "<NOSRV>" 0 -1"#
        ),
        &["client=192.0.2.1", "method=GET", "path=/", "protocol=HTTP/1.1", "status=503"],
    );
    // A name where the server looks names up: it is the client, and no address.
    assert_access(
        &format!(r#"host.example.net - - {STAMP} "GET / HTTP/1.1" 200 -"#),
        &["client=host.example.net", "method=GET", "path=/", "protocol=HTTP/1.1", "status=200"],
    );
    // A user in quotes, as it comes, with an escaped quote, and one that imitates a stamp.
    for (user, meant) in [
        ("bob", "bob"),
        ("bob smith", "bob smith"),
        (r#"a\" [b"#, r#"a\" [b"#),
        ("a [20/Nov/2026]", "a [20/Nov/2026]"),
    ] {
        assert_access(
            &format!(r#"192.0.2.1 - "{user}" {STAMP} "GET / HTTP/1.1" 401 -"#),
            &[
                "client=192.0.2.1",
                &format!("user={meant}"),
                "method=GET",
                "path=/",
                "protocol=HTTP/1.1",
                "status=401",
            ],
        );
    }
    // Apache: a user without a name.
    assert_access(
        &format!(r#"192.0.2.1 - "" {STAMP} "GET / HTTP/1.1" 401 5"#),
        &["client=192.0.2.1", "method=GET", "path=/", "protocol=HTTP/1.1", "status=401"],
    );
}

#[test]
fn requests_that_are_none() {
    for request in [
        "-",
        "",
        r"\x16\x03\x01\x02",
        "GET",
        r"\n",
        "GET /a b HTTP/1.1",
        "quit",
        "get / HTTP/1.1",
        r#"GET /\" HTTP/1"#,
    ] {
        let line = format!("192.0.2.1 - - {STAMP} \"{request}\" 400 150 \"-\" \"-\"");
        let request = format!("request={request}");
        let expected: &[&str] = match request.as_str() {
            "request=-" | "request=" => &["client=192.0.2.1", "status=400"],
            r#"request=GET /\" HTTP/1"# => {
                &["client=192.0.2.1", "method=GET", r#"path=/\""#, "protocol=HTTP/1", "status=400"]
            }
            _ => &["client=192.0.2.1", "status=400", &request],
        };
        assert_access(&line, expected);
    }
}

#[test]
fn when_it_was() {
    let line = r#"192.0.2.1 - - [20/Nov/2026:13:00:00 +0100] "GET / HTTP/1.1" 200 5"#;
    assert_eq!(
        read(Format::Access, &[], line.as_bytes()).unwrap().1.as_deref(),
        Some("2026-11-20T12:00:00Z")
    );
    // nginx with `$time_iso8601`.
    let line = r#"192.0.2.1 - - [2026-11-20T12:00:00+00:00] "GET / HTTP/1.1" 200 5"#;
    assert_eq!(
        read(Format::Access, &[], line.as_bytes()).unwrap().1.as_deref(),
        Some("2026-11-20T12:00:00Z")
    );
}

/// What a user, a request or an agent may be made of to look like something else.
const IMITATIONS: [&str; 12] = [
    "10.1.1.2",
    "10.1.1.2 - - [20/Nov/2026:12:00:00 +0000]",
    "x [20/Nov/2026:12:00:00 +0000]",
    "] \"GET / HTTP/1.1\" 401",
    "x [20/Nov/2026:12:00:00 +0000] \"GET /forged HTTP/1.1\" 200 5",
    "x [20/Nov/2026:12:00:00 +0000] \"GET /forged HTTP/1.1\" 200 5 \"-\" \"x",
    "\"",
    "\" ",
    "\\",
    "\\\"",
    "\" 200 5 \"-\" \"-\"\n10.1.1.2 - - [20/Nov/2026:12:00:00 +0000] \"GET / HTTP/1.1\" 401 5",
    "\u{e9}\0\x1b[0m",
];

/// As nginx writes a variable in an access log (`ngx_http_log_escape`).
fn nginx(text: &str) -> String {
    text.bytes()
        .map(|b| match b {
            b'"' | b'\\' | 0..0x20 | 0x7f.. => format!("\\x{b:02X}"),
            _ => char::from(b).to_string(),
        })
        .collect()
}

/// As Apache (`ap_escape_logitem`) and lighttpd (`accesslog_append_escaped`) do.
fn apache(text: &str) -> String {
    text.bytes()
        .map(|b| match b {
            b'"' => "\\\"".into(),
            b'\\' => "\\\\".into(),
            b'\n' => "\\n".into(),
            0..0x20 | 0x7f.. => format!("\\x{b:02x}"),
            _ => char::from(b).to_string(),
        })
        .collect()
}

#[test]
fn where_quotes_are_escaped_nothing_is_imitated() {
    for escape in [nginx, apache] {
        for text in IMITATIONS {
            let escaped = escape(text);
            let line = format!(
                "203.0.113.9 - {escaped} {STAMP} \"GET /{} HTTP/1.1\" 401 5 \"{escaped}\" \"{escaped}\"",
                escaped.replace(' ', "%20")
            );
            let path = format!("path=/{}", escaped.replace(' ', "%20"));
            let (user, agent, referrer) =
                (format!("user={escaped}"), format!("agent={escaped}"), format!("referrer={escaped}"));
            let expected = [
                "client=203.0.113.9",
                &user,
                "method=GET",
                &path,
                "protocol=HTTP/1.1",
                "status=401",
                &agent,
                &referrer,
            ];
            assert_access(&line, &expected);
        }
    }
}

#[test]
fn where_quotes_are_not_escaped_nobody_else_is_blamed_and_no_status_is_forged() {
    // Traefik's CLF writes users as they come.
    for user in IMITATIONS.into_iter().filter(|user| !user.contains('\n')) {
        let line = format!(
            r#"203.0.113.9 - {user} {STAMP} "GET /real HTTP/1.1" 401 17 "-" "-" 1 "r@file" "http://10.0.0.1" 2ms"#
        );
        let fields = access(&line).unwrap();
        assert_eq!(fields[0], "client=203.0.113.9", "{line}");
        let forged = |field: &String| {
            field.starts_with("status=") && field != "status=401" || field.contains("forged")
        };
        assert!(!fields.iter().any(forged), "{line}: {fields:?}");
    }
    // An agent that ends as a stamp does is nobody's imitation.
    let line = format!(r#"203.0.113.9 - - {STAMP} "GET / HTTP/1.1" 404 17 "-" "x {STAMP} " 1 "r" "u" 2ms"#);
    assert!(access(&line).unwrap().contains(&"status=404".into()));
}

#[test]
fn a_referrer_or_agent_of_any_text_blames_nobody_else_and_forges_no_status() {
    let imitation = format!(r#"-" "-" 1 "r" "u" 2ms 10.1.1.2 - - {STAMP} "GET /forged HTTP/1.1" 200 5 "-"#);
    let addresses = ["10.1.1.2", "\" 10.1.1.2 \"", "\\", "\\\"", "\x1b[2J"];
    for text in
        IMITATIONS.into_iter().chain(addresses).chain([&*imitation]).filter(|text| !text.contains('\n'))
    {
        let head = format!(r#"203.0.113.9 - - {STAMP} "GET /real HTTP/1.1" 401 17"#);
        for line in [
            format!(r#"{head} "{text}" "-""#),
            format!(r#"{head} "-" "{text}""#),
            format!(r#"{head} "{text}" "{text}""#),
        ] {
            let Some(fields) = access(&line) else { continue };
            let about = ["client=", "method=", "path=", "status="];
            let sure: Vec<_> =
                fields.iter().filter(|field| about.iter().any(|name| field.starts_with(name))).collect();
            let real = ["client=203.0.113.9", "method=GET", "path=/real", "status=401"];
            assert!(sure.iter().all(|field| real.contains(&field.as_str())), "{line}: {fields:?}");
            assert_eq!(fields[0], real[0], "{line}");
        }
    }
}

#[test]
fn a_host_that_the_client_named_is_not_the_client() {
    // No web server takes a blank in a host.
    let hosts = [
        "10.1.1.2",
        "10.1.1.2:80",
        "[2001:db8::7]:80",
        "2001:db8::7",
        "-",
        "\"",
        "\"10.1.1.2\"",
        "[",
        "10.1.1.2,",
        "x=10.1.1.2",
        "10.1.1.2\t-\t-",
        "\\",
        "\x1b[2J",
        "{",
        "10.1.1.2\u{2028}",
    ];
    for host in hosts {
        for line in [
            format!(r#"{host} 203.0.113.9 - - {STAMP} "GET / HTTP/1.1" 401 5 "-" "-""#),
            format!(r#"{host}:80 203.0.113.9 - - {STAMP} "GET / HTTP/1.1" 401 5 "-" "-""#),
            format!(r#"203.0.113.9 {host} - {STAMP} "GET / HTTP/1.1" 401 5 "-" "-""#),
            format!(r#"203.0.113.9 - {host} {STAMP} "GET / HTTP/1.1" 401 5 "-" "-""#),
        ] {
            let client = access(&line)
                .and_then(|fields| fields.into_iter().find(|field| field.starts_with("client=")));
            assert!(client.is_none_or(|client| client == "client=203.0.113.9"), "{line}");
        }
    }
}

#[test]
fn an_address_that_the_client_named_is_not_the_client() {
    // `$host $remote_addr - $remote_user`, a host as the client sent it.
    for line in [
        format!(r#"10.1.1.2 203.0.113.9 - - {STAMP} "GET / HTTP/1.1" 401 5"#),
        format!(r#"10.1.1.2 203.0.113.9 {STAMP} "GET / HTTP/1.1" 401 5"#),
        format!(r#"10.1.1.2 {STAMP} "GET / HTTP/1.1" 401 5"#),
        format!(r#"10.1.1.2 203.0.113.9 - " {STAMP} "GET / HTTP/1.1" 401 5"#),
    ] {
        assert_eq!(access(&line), None, "{line}");
    }
    // `$host:$server_port $remote_addr - $remote_user`.
    let line = format!(r#"10.1.1.2:80 203.0.113.9 - - {STAMP} "GET / HTTP/1.1" 401 5"#);
    assert_eq!(access(&line).unwrap()[0], "client=203.0.113.9");
}

#[test]
fn what_is_no_access_log() {
    for line in [
        "",
        " ",
        "192.0.2.1",
        "192.0.2.1 - -",
        "2026/11/20 12:00:00 [error] 1#1: *1 open() \"/a\" failed, client: 192.0.2.1",
        "Nov 20 12:00:00 web1 sshd[7]: Failed password for root from 192.0.2.1 port 22 ssh2",
        "{}",
        r#"{"level":"info","msg":"x"}"#,
        r#"{"request":{}}"#,
    ] {
        assert_eq!(access(line), None, "{line}");
    }
    // The client stands where it must, and nothing else is sure.
    for line in [
        r#"192.0.2.1 - - [text] "GET / HTTP/1.1" 200 5"#.to_owned(),
        format!(r#"192.0.2.1 - - {STAMP} "GET / HTTP/1.1" 2000 5"#),
        format!(r#"192.0.2.1 - - {STAMP} "GET / HTTP/1.1" 200 5x"#),
        format!(r#"192.0.2.1 - - {STAMP} "GET / HTTP/1.1"200 5"#),
        format!(r#"192.0.2.1 - - {STAMP} "GET / HTTP/1.1"#),
        format!(r#"192.0.2.1 - - {STAMP}  "GET / HTTP/1.1" 200"#),
    ] {
        assert!(matches!(access(&line).as_deref(), None | Some([_])), "{line}");
    }
}

/// Whether a line is a record that never counts.
fn is_shown_only(line: &str) -> bool {
    let mut records = Records::new(&Fields::default());
    records.read(Format::Access, line.as_bytes()).unwrap().is_shown_only()
}

#[test]
fn nginx_in_json() {
    let line = r#"{"time_iso8601":"2026-11-20T12:00:00+00:00","remote_addr":"192.0.2.1","remote_user":"a","request":"GET /.env?x HTTP/1.1","status":"404","http_referer":"","http_user_agent":"x","host":"example.org"}"#;
    let expected = [
        "client=192.0.2.1",
        "user=a",
        "method=GET",
        "host=example.org",
        "path=/.env",
        "query=x",
        "protocol=HTTP/1.1",
        "status=404",
        "agent=x",
    ];
    assert_access(line, &expected);
    assert!(!is_shown_only(line));
    let parts = r#""request_method":"GET","request_uri":"/.env?x","server_protocol":"HTTP/1.1""#;
    assert_access(&line.replace(r#""request":"GET /.env?x HTTP/1.1""#, parts), &expected);
    for missing in ["remote_addr", "request", "status"] {
        assert_eq!(access(&line.replace(&format!("\"{missing}\""), "\"other\"")), None, "{missing}");
    }
}

#[test]
fn a_host_may_stand_in_front_without_its_port() {
    let line = |front: &str| format!(r#"{front} {STAMP} "GET / HTTP/1.1" 401 5"#);
    for front in ["www.example.org 192.0.2.1 - a", "web_1 2001:db8::1 - -"] {
        let client = front.split(' ').nth(1).unwrap();
        assert_eq!(access(&line(front)).unwrap()[0], format!("client={client}"), "{front}");
    }
    // What a client may have put there, with its own address behind.
    for front in [
        "x 198.51.100.1 - - 192.0.2.1 - -",
        "x 198.51.100.1 - 192.0.2.1",
        "x 198.51.100.1 - 192.0.2.1:5",
        "x 198.51.100.1 - - 192.0.2.1",
        "x 198.51.100.1 192.0.2.1 - -",
        "x, 198.51.100.1 - -",
        "198.51.100.2 198.51.100.1 - -",
    ] {
        let client = access(&line(front)).map(|fields| fields[0].clone());
        assert_ne!(client.as_deref(), Some("client=198.51.100.1"), "{front}");
    }
}

#[test]
fn haproxy_over_http_and_tcp() {
    // Section 8.2.3 of HAProxy's configuration manual, with other addresses.
    let line = r#"192.0.2.1:33317 [20/Nov/2026:12:00:00.655] http-in static/srv1 10/0/30/69/109 200 2750 - - ---- 1/1/1/1/0 0/0 {1wt.eu} {} "GET /index.html?a HTTP/1.1""#;
    assert_access(
        line,
        &[
            "client=192.0.2.1",
            "method=GET",
            "path=/index.html",
            "query=a",
            "protocol=HTTP/1.1",
            "status=200",
            "agent=1wt.eu",
            "termination=----",
        ],
    );
    assert_eq!(
        read(Format::Access, &[], line.as_bytes()).unwrap().1.as_deref(),
        Some("2026-11-20T12:00:00Z")
    );
    let bad = r#"192.0.2.1:33317 [20/Nov/2026:12:00:00.655] http-in http-in/<NOSRV> -1/-1/-1/-1/0 400 187 - - PR-- 2/2/0/0/0 0/0 {|} "<BADREQ>""#;
    assert_access(bad, &["client=192.0.2.1", "status=400", "request=<BADREQ>", "termination=PR--"]);
    let none = r#"192.0.2.1:33317 [20/Nov/2026:12:00:00.655] web~ web/<NOSRV> -1/-1/-1/-1/+1 -1 +0 - - CR-- 2/2/0/0/0 0/0 "-""#;
    assert_access(none, &["client=192.0.2.1", "status=-1", "termination=CR--"]);
    // The last header of the request.
    let captured = none.replace("0/0 \"", "0/0 {example.org|Nikto/2.5.0} {x|y} \"");
    assert_access(&captured, &["client=192.0.2.1", "status=-1", "agent=Nikto/2.5.0", "termination=CR--"]);
    // `default_https_log_format`: more behind the request.
    let https = r#"2001:db8::1:443 [20/Nov/2026:12:00:00.655] web~ web/s1 0/0/0/0/0 404 187 - - ---- 1/1/0/0/0 0/0 "GET / HTTP/2.0" 0/0000000000000000/0/0/0 example.org/TLSv1.3/TLS_AES_128_GCM_SHA256"#;
    assert_access(
        https,
        &[
            "client=2001:db8::1",
            "method=GET",
            "path=/",
            "protocol=HTTP/2.0",
            "status=404",
            "termination=----",
        ],
    );
    // Section 8.2.2: TCP.
    let tcp = "192.0.2.1:33313 [20/Nov/2026:12:00:00.655] fnt bck/srv1 0/0/5007 212 -- 0/0/0/0/3 0/0";
    assert_access(tcp, &["client=192.0.2.1"]);
    // Section 8.2.5: an error says in words what happened, which is a pattern's business.
    assert_eq!(
        access("192.0.2.1:33313 [20/Nov/2026:12:00:00.655] frt/f1:  Connection error during SSL handshake"),
        None
    );
    assert_eq!(access("Connect from 192.0.2.1:33312 to 198.51.100.7:8012 (www/HTTP)"), None);
    // A captured cookie with a quote, as it came.
    let cookie = r#"192.0.2.1:33317 [20/Nov/2026:12:00:00.655] a b/c 0/0/0/0/0 404 2750 c=" "GET - ---- 1/1/1/1/0 0/0 "GET / HTTP/1.1""#;
    assert_eq!(access(cookie).unwrap()[..2], ["client=192.0.2.1", "status=404"]);
}

#[test]
fn caddy() {
    // The example of Caddy's logging documentation, shortened, with other addresses.
    let line = r#"{"level":"info","ts":1795176000.5241024,"logger":"http.log.access.log0","msg":"handled request","request":{"remote_ip":"203.0.113.9","remote_port":"41342","client_ip":"203.0.113.9","proto":"HTTP/2.0","method":"GET","host":"localhost:8443","uri":"/.env?x=\"1\"","headers":{"User-Agent":["curl/7.82.0"],"Accept":["*/*"],"Referer":["http://a/","b"]},"tls":{"resumed":false,"version":772,"cipher_suite":4865,"proto":"h2","server_name":"example.com"}},"bytes_read": 0,"user_id":"","duration":0.000929675,"size":10900,"status":404,"resp_headers":{"Server":["Caddy"]}}"#;
    let expected = [
        "client=203.0.113.9",
        "method=GET",
        "host=localhost",
        "path=/.env",
        "query=x=\"1\"",
        "protocol=HTTP/2.0",
        "status=404",
        "agent=curl/7.82.0",
        "referrer=http://a/",
    ];
    assert_access(&line.replace(r#"\"1\""#, r#"\u0022\u0031\""#), &expected);
    assert_access(line, &expected);
    assert_eq!(
        read(Format::Access, &[], line.as_bytes()).unwrap().1.as_deref(),
        Some("2026-11-20T12:00:00Z")
    );
    // Whom a proxy's header names: the client's own word, for all that the line says.
    for client in ["198.51.100.1", "203.0.113.90", "x", ""] {
        let named = line.replace(r#""client_ip":"203.0.113.9""#, &format!(r#""client_ip":"{client}""#));
        assert_eq!(access(&named), None, "{client}");
    }
    // Before 2.7 the peer, before 2.5 with its port.
    let old = r#"{"logger":"http.log.access","request":{"remote_ip":"192.0.2.1"},"status":200}"#;
    assert_access(old, &["client=192.0.2.1", "status=200"]);
    let older =
        |peer: &str| format!(r#"{{"request":{{"remote_addr":"{peer}"}},"user_id":"bob","status":200}}"#);
    assert_access(&older("192.0.2.1:5"), &["client=192.0.2.1", "user=bob", "status=200"]);
    assert_access(&older("[2001:db8::1]:5"), &["client=2001:db8::1", "user=bob", "status=200"]);
    // The console format, which a client can write lines of.
    let console = |object: &str| {
        format!("2026/11/20 12:00:00.524\tINFO\thttp.log.access.log0\thandled request\t{object}")
    };
    assert_access(&console(line), &expected);
    assert!(is_shown_only(&console(line)) && !is_shown_only(line));
    for broken in [
        console(line).replace("http.log.access", "http.log.debug"),
        console(line).replace('\t', " "),
        console(line).replace("2026/11/20 ", ""),
        console(&line.replace(r#""client_ip":"203.0.113.9""#, r#""client_ip":"198.51.100.1""#)),
        console("{"),
    ] {
        assert_eq!(access(&broken), None, "{broken}");
    }
    // What the error log says of a password is shown; else it is another logger's word on the same request.
    let error = line.replace("http.log.access.log0", "http.log.error.log0");
    let refused = error.replace(r#""status":404"#, r#""status":401"#);
    assert!(access(&refused).is_some() && is_shown_only(&refused));
    // Another logger's word on the same request.
    assert_eq!(access(&line.replace("http.log.access.log0", "http.log.error.log0")), None);
    // Headers of the client's choice.
    for header in ["User-Agent.0", "0", "client_ip", "request", "User-Agent\\u002e0"] {
        let with = line.replace(r#""Accept":"#, &format!(r#""{header}":"#));
        assert_access(&with, &expected);
    }
}

#[test]
fn traefik() {
    let line = r#"{"ClientAddr":"203.0.113.9:40126","ClientHost":"203.0.113.9","ClientPort":"40126","ClientUsername":"-","DownstreamContentSize":19,"DownstreamStatus":404,"Duration":181127,"RequestAddr":"example.org","RequestCount":3,"RequestHost":"example.org","RequestMethod":"GET","RequestPath":"/wp-login.php?a","RequestPort":"-","RequestProtocol":"HTTP/1.1","RequestScheme":"http","RetryAttempts":0,"StartLocal":"2026-11-20T12:00:00.123456789Z","StartUTC":"2026-11-20T12:00:00.123456789Z","entryPointName":"web","level":"info","msg":"","request_User-Agent":"zgrab \"x\"","time":"2026-11-20T12:00:01Z"}"#;
    assert_access(
        line,
        &[
            "client=203.0.113.9",
            "method=GET",
            "host=example.org",
            "path=/wp-login.php",
            "query=a",
            "protocol=HTTP/1.1",
            "status=404",
            "agent=zgrab \"x\"",
        ],
    );
    assert_eq!(
        read(Format::Access, &[], line.as_bytes()).unwrap().1.as_deref(),
        Some("2026-11-20T12:00:01Z")
    );
    let v6 = line.replace("203.0.113.9:40126", "[2001:db8::9]:40126").replace("203.0.113.9", "2001:db8::9");
    assert_eq!(access(&v6).unwrap()[0], "client=2001:db8::9");
    let without_host = line.replace(r#""ClientHost":"203.0.113.9","#, "");
    assert_eq!(access(&without_host).unwrap()[0], "client=203.0.113.9");
    // Whom X-Forwarded-For names: somebody whom the client or a proxy has chosen.
    for host in ["10.1.1.2", "10.1.1.2, 203.0.113.9", "203.0.113.9, 10.1.1.2", "203.0.113.90", "x", ""] {
        let named = line.replace(r#""ClientHost":"203.0.113.9""#, &format!(r#""ClientHost":"{host}""#));
        assert_eq!(access(&named), None, "{host}");
    }
    // The owner has left the peer out: shown, because the other may be a header's word.
    let shown = |line: &str, is_shown: bool| {
        let fields = Fields::default();
        let mut records = Records::new(&fields);
        let record = records.read(Format::Access, line.as_bytes());
        assert_eq!(record.map(|record| record.is_shown_only()), Some(is_shown), "{line}");
    };
    shown(line, false);
    let without_peer = line.replace(r#""ClientAddr":"203.0.113.9:40126","#, "");
    assert_eq!(access(&without_peer).unwrap()[0], "client=203.0.113.9");
    shown(&without_peer, true);
    let few =
        r#"{"DownstreamStatus":404,"RequestPath":"/a","ClientHost":"2001:db8::9","RequestMethod":"GET"}"#;
    assert_access(few, &["client=2001:db8::9", "method=GET", "path=/a", "status=404"]);
    // A peer that cannot be read, and what is no request.
    assert_eq!(access(&line.replace("203.0.113.9:40126", "x")), None);
    assert_eq!(access(r#"{"ClientHost":"203.0.113.9","RequestPath":"/a"}"#), None);
    assert_eq!(access(r#"{"ClientHost":"203.0.113.9","DownstreamStatus":404}"#), None);
}

proptest! {
    #[test]
    fn the_client_is_who_it_is(user in "[ -~]{0,60}", request in "[ -~]{0,60}", agent in "[ -~]{0,60}", imitation in prop::sample::select(&IMITATIONS[..]), how in 0..3) {
        let [user, request, agent] = match how {
            0 => [format!("{user}{imitation}"), request, agent],
            1 => [user, format!("{request}{imitation}"), agent],
            _ => [user, request, format!("{imitation}{agent}")],
        };
        // Escaped, everything is where it was put; bare, the client is, or the line is no record.
        for escape in [nginx, apache] {
            let line = format!("203.0.113.9 - {} {STAMP} \"{}\" 401 5 \"-\" \"{}\"", escape(&user), escape(&request), escape(&agent));
            let fields = access(&line).unwrap();
            prop_assert_eq!(&fields[0], "client=203.0.113.9");
            prop_assert!(fields.contains(&"status=401".into()), "{}", line);
            let agent = format!("agent={}", escape(&agent));
            prop_assert!(fields.contains(&agent) || agent == "agent=" || agent == "agent=-", "{}", line);
        }
        let bare = format!("203.0.113.9 - {user} {STAMP} \"{request}\" 401 5 \"-\" \"{agent}\"");
        if let Some(fields) = access(&bare) {
            prop_assert_eq!(&fields[0], "client=203.0.113.9", "{}", bare);
        }
    }
}
