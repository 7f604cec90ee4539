//! What doctor says of a machine, without a daemon.

use super::*;

#[test]
fn doctor_needs_no_daemon() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let config = format!(
        "[paths]\nstate = {:?}\nrun = {:?}\nbpffs = {:?}\n[source]\njournald = \"off\"\nfiles = [{:?}]\nservice_files = false\n",
        at("state"),
        at("run"),
        at("bpf"),
        at("auth.log")
    );
    fs::write(at("guard.toml"), config).unwrap();
    let file = at("guard.toml");
    let line = ["--config", file.to_str().unwrap(), "--json", "doctor"];

    let level = |what: &str| {
        let (exit, json) = guardctl(&line);
        let findings: Vec<serde_json::Value> = serde_json::from_str(&json).unwrap();
        let found = findings.into_iter().find(|finding| finding["what"] == what);
        (exit, found.map(|finding| finding["level"].as_str().unwrap().to_owned()))
    };
    assert_eq!(level("sources"), (code(1), Some("fail".into())));
    fs::write(at("auth.log"), "").unwrap();
    assert_eq!(level("sources").1, None);
    assert_eq!(level("configuration").1.as_deref(), Some("ok"));
    assert_eq!(level("state").1.as_deref(), Some("ok"));
    assert_eq!(level("daemon").1.as_deref(), Some("warn"));
    fs::remove_dir_all(at("state")).ok();
    fs::write(at("state"), "").unwrap();
    assert_eq!(level("state").1.as_deref(), Some("fail"), "it is no folder");
    assert_eq!(level("enforcement").1, None);
    let mut observing = fs::read_to_string(at("guard.toml")).unwrap();
    observing.push_str("[enforce]\nbackend = \"observe\"\n");
    fs::write(at("guard.toml"), observing).unwrap();
    assert_eq!(level("enforcement").1.as_deref(), Some("warn"), "nothing is dropped");
    fs::write(at("guard.toml"), "oops").unwrap();
    assert_eq!(level("configuration"), (code(1), Some("fail".into())));
}

#[test]
fn doctor_looks_at_sources_as_the_daemon_does() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("filters.d")).unwrap();
    let filter = |name: &str, more: &str| {
        let text = format!(
            "description = \"one\"\nfiles = [\"{}/app*.log\"]\nformat = \"stamped\"\nidentifiers = [\"app\"]\n\
             [[pattern]]\nkind = \"failed-auth\"\ntext = 'app refused <address>'\n{more}",
            folder.path().display()
        );
        fs::write(at("filters.d").join(name), text).unwrap();
    };
    filter("app.toml", "");
    let doctor = |journald: &str, files: &[PathBuf]| {
        let config = format!(
            "[paths]\nstate = {:?}\nrun = {:?}\nbpffs = {:?}\n[filter]\nfolder = {:?}\nenable = [\"app\"]\n\
             [source]\njournald = {journald:?}\njournal_paths = [{:?}]\nfiles = {files:?}\n",
            at("state"),
            at("run"),
            at("bpf"),
            at("filters.d"),
            at("journal"),
        );
        fs::write(at("guard.toml"), config).unwrap();
        let (_, json) = guardctl(&["--config", at("guard.toml").to_str().unwrap(), "--json", "doctor"]);
        let findings: Vec<serde_json::Value> = serde_json::from_str(&json).unwrap();
        let of_sources = ["journal", "log file", "service logs", "filters", "sources"];
        let shown = |finding: &serde_json::Value| {
            let text = |name: &str| finding[name].as_str().unwrap().to_owned();
            of_sources
                .contains(&finding["what"].as_str()?)
                .then(|| [text("level"), text("what"), text("detail")].join(" "))
        };
        findings.iter().filter_map(shown).collect::<Vec<_>>()
    };
    let nothing = "fail sources nothing to read: guard would see no attack";
    assert_eq!(doctor("off", &[]), [nothing]);
    // What the daemon refuses is not readable, and none of it keeps anybody waiting.
    fs::write(at("elsewhere"), "").unwrap();
    std::os::unix::fs::symlink(at("elsewhere"), at("link")).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, at("fifo"), rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0)
        .unwrap();
    let said = doctor("off", &[at("link"), at("fifo")]);
    assert!(said[0].starts_with("warn log file") && said[0].contains("a symbolic link"), "{said:?}");
    assert!(said[1].starts_with("warn log file") && said[1].contains("a FIFO"), "{said:?}");
    assert_eq!(said[2..], [nothing]);
    // Files of services are enough.
    fs::write(at("app-1.log"), "").unwrap();
    assert_eq!(doctor("off", &[]), ["ok service logs 1 file can be read"]);
    fs::write(at("app-2.log"), "").unwrap();
    assert_eq!(doctor("off", &[at("app-2.log")])[1], "ok service logs 1 file can be read");
    // A journal that nobody writes to.
    fs::create_dir(at("journal")).unwrap();
    fs::write(at("journal/system.journal"), crate::source::journald::header_of(7)).unwrap();
    let said = doctor("on", &[]);
    assert!(said[0].starts_with("fail journal") && said[0].contains("no entries since"), "{said:?}");
    assert!(doctor("auto", &[])[0].starts_with("fail journal"), "it is waited for");
    // Without filters guard does not start.
    filter("app.toml", "oops = 1\n");
    assert!(doctor("off", &[])[0].starts_with("fail filters"));
}
