//! What is wrong, where, and the way out.

use super::*;

/// So many rules, each with its number.
fn many(count: usize, rule: impl Fn(usize) -> String) -> String {
    (0..count).map(rule).collect::<Vec<_>>().concat()
}

fn rule(keys: &str) -> String {
    format!("[[rule]]\nname = 'one'\n{keys}\n")
}

#[test]
fn errors_name_file_line_rule_key_and_way_out() {
    let tag = "then = { tag = 'x' }";
    for (text, says) in [
        (
            rule(&format!("wen = 1\n{tag}")),
            "rules.toml:3:1: rule `one`: unknown key `wen`; did you mean `when`?",
        ),
        (rule("when = { user = 'x' }"), "rules.toml:1:1: rule `one`: `then` is missing"),
        (format!("[[rule]]\n{tag}"), "rules.toml:1:1: a rule without a `name`"),
        (format!("[[rule]]\nname = 'a b'\n{tag}"), "rules.toml:2:8: a rule's `name`: \"a b\" is not a name"),
        (
            rule(&format!("{tag}\nwhen = {{ usr = 'x' }}")),
            "rules.toml:4:10: rule `one`: `when`: unknown key `usr`; did you mean `user`?",
        ),
        (rule(&format!("{tag}\nwhen = 'x'")), "`when`: expected a table of conditions"),
        (rule(&format!("{tag}\nwhen = {{}}")), "an empty condition; a rule for every sighting has no `when`"),
        (rule(&format!("{tag}\nwhen = {{ user = [] }}")), "`when`: `user`: an empty list holds for nothing"),
        (
            rule(&format!("{tag}\nwhen = {{ user = 7 }}")),
            "`user`: expected a text, in which `*` stands for any text, found a whole number",
        ),
        (
            rule(&format!("{tag}\nwhen = {{ kind = 'failed-pasword' }}")),
            "`kind`: \"failed-pasword\" is no kind; did you mean \"failed-password\"?",
        ),
        (
            rule(&format!("{tag}\nwhen = {{ ip = '10.0.0.0/8' }}")),
            "`ip`: 10.0.0.0/8 is a prefix: it belongs to `cidr`",
        ),
        (
            rule(&format!("{tag}\nwhen = {{ cidr = '10.0.0.0/33' }}")),
            "`cidr`: `10.0.0.0/33` is not an address or CIDR",
        ),
        (
            rule(&format!("{tag}\nwhen = {{ country = 'Germany' }}")),
            "`country`: \"Germany\" is no code of two letters",
        ),
        (rule(&format!("{tag}\nwhen = {{ asn = 'AS' }}")), "`asn`: \"\" is no number of a network"),
        (
            rule(&format!("{tag}\nwhen = {{ status = '5x' }}")),
            "`status`: no status: write 404, \"4xx\" or \"500-503\"",
        ),
        (rule(&format!("{tag}\nwhen = {{ status = '500-400' }}")), "no status"),
        (
            rule(&format!("{tag}\nwhen = {{ pattern = ['ok', '(x'] }}")),
            "rules.toml:4:27: rule `one`: `when`: `pattern`: no regular expression that can be used: unclosed group",
        ),
        (
            rule(&format!("{tag}\nwhen = {{ pattern = '(?:x{{1000}}){{1000}}' }}")),
            "it takes more than 1024 KiB when it is compiled",
        ),
        (
            rule(&format!("{tag}\nwhen = {{ any = {{ user = 'x' }} }}")),
            "`any`: expected a list of conditions",
        ),
        (rule("then = {}"), "`then`: there is nothing in it"),
        (rule("then = { bann = '1d' }"), "`then`: unknown key `bann`; did you mean `ban`?"),
        (rule("then = { ban = 60 }"), "`ban`: 60 has no unit"),
        (rule("then = { ban = false }"), "`ban`: "),
        (rule("then = { ban = { for = '1d', force = true } }"), "`force`: no rule goes past what is allowed"),
        (rule("then = { webhook = 'http://a.org/' }"), "`webhook`: it would go unencrypted"),
        (rule("then = { webhook = 'a.org' }"), "`webhook`: \"a.org\" is not a URL"),
        (rule("then = { webhook = { private = true } }"), "`webhook`: `url` is missing"),
        (rule("then = { webhook = { url = 'https://a.org', secret = 's' } }"), "is not an absolute path"),
        (rule("then = { webhook = { url = 'https://a.org', ca = 'ca.pem' } }"), "is not an absolute path"),
        (
            rule("then = { webhook = { url = 'http://10.0.0.1', ca = '/ca.pem', private = true } }"),
            "it has a `ca`, but no https:// URL",
        ),
        (rule("then = { webhook = { url = 'https://a.org', timeout = '2m' } }"), "out of range"),
        (rule("then = { ban = { fur = '1d' } }"), "`ban`: unknown key `fur`; did you mean `for`?"),
        (rule("then = { score = 2 }"), "`score`: expected { add = 2 } or { set = 0.5 }"),
        (
            rule("then = { score = { add = 2, set = 1 } }"),
            "`score`: write either { add = 2 } or { set = 0.5 }",
        ),
        (rule("then = { score = { set = -1 } }"), "`score`: out of range: a number from 0 to 1000"),
        (rule("then = { ignore = false }"), "`ignore`: it says nothing"),
        (rule("then = { ignore = true, ban = '1h' }"), "`then`: `ignore` and `ban` contradict each other"),
        (rule("then = { tag = 'a b' }"), "`tag`: \"a b\" is not a name"),
        (rule("then = { notify = \"a\\nb\" }"), "`notify`: a text of 1 to 200 bytes in one line"),
        (rule("then = { run = 'x' }"), "`run`: expected a list: the program's absolute path"),
        (rule("then = { run = ['echo', 'x'] }"), "`run`: \"echo\" is not an absolute path"),
        (rule("then = { run = { timeout = '5s' } }"), "`run`: `command` is missing"),
        (rule("then = { run = { command = ['/x'], timeout = '1h' } }"), "`run`: out of range: from 1s to 5m"),
        (
            rule(&format!("{tag}\nrate_limit = {{ max = 0, window = '1m' }}")),
            "`rate_limit`: 0 is out of range",
        ),
        (
            rule(&format!("{tag}\nrate_limit = {{ max = 5 }}")),
            "`rate_limit`: a rate limit needs `max` and `window`",
        ),
        (
            rule("when = { kind = 'spoofable' }\nthen = { ban = '1h' }"),
            "`ban` for what is `spoofable`: its sender can be forged",
        ),
        ("[rule]\nname = 'x'".into(), "`rule` is a list of tables: write [[rule]]"),
        ("[[rules]]\nname = 'x'".into(), "rules.toml:1:3: unknown key `rules`; did you mean [[rule]]?"),
        ("[[rule]]\nname = ".into(), "rules.toml:2:"),
    ] {
        let error = refused(&text);
        assert!(error.contains(says), "{text}\n  says  {error}\n  wants {says}");
    }
}

#[test]
fn all_errors_are_told_in_the_order_of_the_file() {
    let text = "[[rule]]\nname = 'a'\nwhen = { usr = 'x', kind = 'y' }\nthen = {}\n[[rule]]\nname = 'b'\nthen = { bann = 1 }\n";
    let error = refused(text);
    let places: Vec<&str> = error.lines().map(|line| line.split(": ").next().unwrap()).collect();
    assert_eq!(
        places,
        ["rules.toml:3:10", "rules.toml:3:28", "rules.toml:4:8", "rules.toml:7:10"],
        "{error}"
    );
}

#[test]
fn many_errors_are_bounded() {
    let text = many(9000, |n| format!("[[rule]]\nname = 'r{n}'\nthen = {{ bann = 1 }}\n"));
    let error = refused(&text);
    assert_eq!(error.lines().count(), 50);
    assert!(error.ends_with("(and 8950 more faults)"), "{error}");
}

#[test]
fn names_differ() {
    let text = rule("then = { tag = 'x' }\ncontinue = true").repeat(3);
    let error = refused(&text);
    assert!(
        error.contains("rules.toml:5:1: rule `one`: another rule has this name, at rules.toml:1"),
        "{error}"
    );
}

#[test]
fn what_is_too_much_is_refused_and_says_what_helps() {
    let crowd = many(10_001, |n| format!("[[rule]]\nname = 'r{n}'\nthen = {{ tag = 'x' }}\n"));
    assert!(refused(&crowd).contains("10001 rules, more than the 10000 there may be; a list in one rule"));
    let deep = format!("{}{{ user = 'x' }}{}", "{ not = ".repeat(20), " }".repeat(20));
    assert!(refused(&rule(&format!("when = {deep}\nthen = {{ tag = 'x' }}"))).contains("more than 16 deep"));
    let wide = vec!["{ user = 'x' }"; 1001].join(", ");
    let wide = rule(&format!("when = {{ any = [{wide}] }}\nthen = {{ tag = 'x' }}"));
    assert!(refused(&wide).contains("more than 1000 conditions"));
    let heavy = many(300, |n| {
        format!(
            "[[rule]]\nname = 'r{n}'\nwhen = {{ pattern = '(?:a{n}.{{100}}){{60}}' }}\nthen = {{ tag = 'x' }}\n"
        )
    });
    let begin = std::time::Instant::now();
    let error = refused(&heavy);
    assert!(error.contains("take more than 64 MiB"), "{error}");
    assert!(begin.elapsed() < std::time::Duration::from_secs(60), "{:?}", begin.elapsed());
}

fn doubts(text: &str) -> Vec<String> {
    rules(text).warnings().iter().map(ToString::to_string).collect()
}

#[test]
fn what_is_never_reached_or_never_true_is_doubted() {
    let pair = |first: &str, second: &str| {
        doubts(&format!(
            "[[rule]]\nname = 'a'\nthen = {{ tag = 'x' }}\n{first}\n[[rule]]\nname = 'b'\nthen = {{ tag = 'y' }}\n{second}\n"
        ))
    };
    assert_eq!(
        pair("", "when = { user = 'x' }"),
        ["rules.toml:5: rule `b`: never reached: rule `a` acts on every sighting"]
    );
    for (first, second) in [
        ("when = { user = 'x' }", "when = { user = 'x' }"),
        ("when = { user = ['x', 'y'] }", "when = { user = ['y', 'x', 'x'], kind = 'probe' }"),
        (
            "when = { cidr = '10.0.0.0/8' }",
            "when = { all = [{ cidr = ['10.0.0.0/9', '10.128.0.0/9'] }], filter = 'sshd' }",
        ),
    ] {
        assert_eq!(
            pair(first, second),
            ["rules.toml:5: rule `b`: never reached: rule `a` acts on every sighting it is for"],
            "{first} {second}"
        );
    }
    for first in [
        "continue = true",
        "simulate = true",
        "rate_limit = { max = 1, window = '1s' }",
        "when = { user = 'x', kind = 'probe' }",
    ] {
        assert!(pair(first, "when = { user = 'x' }").is_empty(), "{first}");
    }
    for (condition, reason) in [
        ("{ kind = 'probe', all = [{ kind = 'timeout' }] }", "no sighting is of two kinds"),
        ("{ ip = '10.0.0.1', cidr = '192.0.2.0/24' }", "no address is in both lists"),
        ("{ user = 'x', not = { user = 'x' } }", "a condition and its opposite"),
    ] {
        assert_eq!(
            pair(&format!("when = {condition}"), "when = { kind = 'timeout' }"),
            [format!("rules.toml:1: rule `a`: never true: {reason}")]
        );
    }
}

#[test]
fn doubts_are_bounded() {
    let text = many(5000, |n| format!("[[rule]]\nname = 'r{n}'\nthen = {{ tag = 'x' }}\n"));
    let doubts = doubts(&text);
    assert_eq!(doubts.len(), 50);
    assert!(doubts[49].ends_with("(and 4949 more like it)"), "{}", doubts[49]);
}

#[test]
fn a_filter_that_nobody_uses_is_doubted() {
    let mut set = when("{ filter = ['sshdd', 'http'] }");
    set.check_filters(["sshd", "http"].into_iter());
    let doubts: Vec<_> = set.warnings().iter().map(ToString::to_string).collect();
    assert_eq!(doubts, ["rules.toml:1: rule `one`: no filter `sshdd` is in use; did you mean `sshd`?"]);
}

#[test]
fn rules_of_the_configuration_are_read_and_shown() {
    let text = "[[rule]]\nname = \"one\"\nwhen = { \"user\" = [\"root\"], status = [404, \"5xx\"] }\nthen = { score = { add = 1.5 } }\ncontinue = true\n";
    let config = crate::config::parse(text, Path::new("guard.toml")).unwrap();
    assert_eq!(config.rules.len(), 1);
    let shown = config.show();
    assert!(shown.ends_with("[[rule]]\nname = \"one\"\nwhen = { status = [404, \"5xx\"], user = [\"root\"] }\nthen = { score = { add = 1.5 } }\ncontinue = true\n"), "{shown}");
    assert_eq!(crate::config::parse(&shown, Path::new("guard.toml")).unwrap(), config);
    assert_eq!(config.rules[0].value("continue"), Some("true"));
    let error = crate::config::parse(
        "[decide]\nthreshold = 0\n[[rule]]\nname = 'x'\nthen = { bann = 1 }",
        Path::new("guard.toml"),
    );
    let error = error.unwrap_err().to_string();
    assert!(
        error.contains("guard.toml:2:13: ")
            && error.contains("guard.toml:5:10: rule `x`: `then`: unknown key `bann`"),
        "{error}"
    );
}

#[test]
fn the_folder_is_read_by_name_and_every_file_is_checked() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    let config = |more: &str| {
        let text = format!("[decide]\nrules = '{}'\n{more}", folder.path().display());
        crate::config::parse(&text, Path::new("guard.toml")).unwrap()
    };
    let one = |name: &str| format!("[[rule]]\nname = '{name}'\nthen = {{ tag = 'x' }}\ncontinue = true\n");
    write("20.toml", &one("c"));
    write("10.toml", &(one("b") + &one("bb")));
    write("notes.txt", "rubbish");
    let set = RuleSet::load(&config(&one("a"))).unwrap();
    let names: Vec<_> = set.rules().map(|(rule, _)| rule.name().to_owned()).collect();
    assert_eq!(names, ["a", "b", "bb", "c"]);
    let error = RuleSet::load(&config(&one("c"))).unwrap_err().to_string();
    assert!(error.contains("20.toml:1:1: rule `c`: another rule has this name, at guard.toml:3"), "{error}");

    write("10.toml", "[[rule]]\n");
    write("30.toml", "x = 1\n");
    let error = RuleSet::load(&config("")).unwrap_err().to_string();
    assert!(
        error.contains("10.toml:1:1: a rule without") && error.contains("30.toml:1:1: unknown key `x`"),
        "{error}"
    );
    std::fs::set_permissions(
        folder.path().join("30.toml"),
        std::os::unix::fs::PermissionsExt::from_mode(0o666),
    )
    .unwrap();
    assert!(RuleSet::load(&config("")).unwrap_err().to_string().contains("chmod go-w"));

    let missing = crate::config::parse("[decide]\nrules = '/nonexistent/rules.d'", Path::new("g")).unwrap();
    assert!(RuleSet::load(&missing).unwrap().is_empty());
}
