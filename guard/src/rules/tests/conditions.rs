//! What each condition holds for.

use super::*;

fn holds(condition: &str, facts: &Facts<'_>) -> bool {
    !when(condition).judge(facts, Moment(0)).is_empty()
}

#[test]
fn each_condition_looks_at_its_fact() {
    for (condition, login_fits, request_fits) in [
        ("{ kind = 'failed-password' }", true, false),
        ("{ kind = ['probe', 'failed-password'] }", true, true),
        ("{ filter = 'http' }", false, true),
        ("{ filter = ['sshd', 'dropbear'] }", true, false),
        ("{ user = 'root' }", true, false),
        ("{ user = ['admin', 'r*t'] }", true, false),
        ("{ user = 'ROOT' }", false, false),
        ("{ service = 'sshd*' }", true, false),
        ("{ path = '/wp-*' }", false, true),
        ("{ path = ['/xmlrpc.php', '*/wp-login.php'] }", false, true),
        ("{ status = 404 }", false, true),
        ("{ status = '4xx' }", false, true),
        ("{ status = ['400-403', '405-499', 500] }", false, false),
        ("{ ip = '203.0.113.7' }", true, false),
        ("{ ip = ['2001:DB8:0::7', '::ffff:203.0.113.7'] }", true, true),
        ("{ cidr = '203.0.113.0/24' }", true, false),
        ("{ cidr = ['10.0.0.0/8', '2001:db8::/32'] }", false, true),
        ("{ pattern = 'port \\d+ ssh2$' }", true, false),
        ("{ pattern = ['^x', '(?i)get /WP-'] }", false, true),
    ] {
        assert_eq!(
            (holds(condition, &login()), holds(condition, &request())),
            (login_fits, request_fits),
            "{condition}"
        );
    }
}

#[test]
fn conditions_are_joined() {
    for (condition, fits) in [
        ("{ filter = 'sshd', user = 'root' }", true),
        ("{ filter = 'sshd', user = 'admin' }", false),
        ("{ all = [{ filter = 'sshd' }, { user = 'root' }] }", true),
        ("{ any = [{ filter = 'http' }, { user = 'root' }] }", true),
        ("{ any = [{ filter = 'http' }, { user = 'admin' }] }", false),
        ("{ not = { user = 'admin' } }", true),
        ("{ not = { user = 'root' } }", false),
        ("{ not = { not = { user = 'root' } } }", true),
        (
            "{ filter = 'sshd', any = [{ ip = '192.0.2.1' }, { all = [{ user = 'r*' }, { not = { kind = 'probe' } }] }] }",
            true,
        ),
    ] {
        assert_eq!(holds(condition, &login()), fits, "{condition}");
    }
}

#[test]
fn what_is_not_known_is_neither_true_nor_untrue() {
    for condition in [
        "{ user = '*' }",
        "{ not = { user = 'root' } }",
        "{ not = { country = 'DE' } }",
        "{ not = { asn = 64500 } }",
        "{ not = { any = [{ kind = 'timeout' }, { user = 'root' }] } }",
        "{ not = { all = [{ kind = 'probe' }, { user = 'root' }] } }",
    ] {
        assert!(!holds(condition, &request()), "{condition}");
    }
    assert!(
        holds("{ any = [{ user = 'root' }, { kind = 'probe' }] }", &request()),
        "one that is known is enough"
    );
    assert!(
        holds("{ not = { all = [{ kind = 'timeout' }, { user = 'root' }] } }", &request()),
        "untrue whatever the user"
    );
}

#[test]
fn texts_are_bytes() {
    let facts = Facts { user: Some(b"\xff\xfe\0x"), line: b"a\xff\nfrom \x1b", ..login() };
    assert!(holds("{ user = '*x' }", &facts));
    assert!(holds("{ pattern = '^a.+from .$' }", &facts), "`.` is any byte");
    let facts = Facts { user: Some("é".as_bytes()), line: "für é".as_bytes(), ..login() };
    assert!(holds("{ user = 'é' }", &facts) && holds("{ pattern = 'für é' }", &facts));
    assert!(holds("{ user = '' }", &Facts { user: Some(b""), ..login() }));
}

#[test]
fn facts_come_from_the_sighting_and_are_cut() {
    let long = vec![b'x'; 4000];
    let sighting = crate::sighting::Sighting {
        at: None,
        address: "::ffff:203.0.113.7".parse().unwrap(),
        kind: Kind::Probe,
        points: Points(1000),
        pattern: crate::sighting::PatternId::default(),
        pid: 0,
        port: 0,
        account: Some(&long),
        service: b"",
        request: Some(crate::sighting::Request { path: Some(&long), status: Some(404) }),
        line: &long,
    };
    let facts = Facts::of(&sighting, "http");
    assert_eq!(facts.address.to_string(), "203.0.113.7");
    assert_eq!((facts.service, facts.status), (None, Some(404)));
    let lengths = [facts.user, facts.path, Some(facts.line)].map(|text| text.unwrap().len());
    assert_eq!(lengths, [crate::encode::EVIDENCE; 3]);
}

#[test]
fn a_hostile_line_takes_linear_time() {
    let mut set = when("{ pattern = ['(x+x+)+y', '^(a|a)*$', '(?:[a-z]+)*@'] }");
    let line = vec![b'x'; crate::encode::EVIDENCE];
    let begin = std::time::Instant::now();
    for _ in 0..1000 {
        assert!(set.judge(&Facts { line: &line, ..login() }, Moment(0)).is_empty());
    }
    assert!(begin.elapsed() < std::time::Duration::from_secs(10), "{:?}", begin.elapsed());
}
