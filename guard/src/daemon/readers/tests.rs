//! Real threads on real files, with what they deliver taken as the engine's thread takes it.

use std::os::unix::ffi::OsStrExt;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use super::*;
use crate::config::Journald;
use crate::scan::{FilterFile, Mode};
use crate::source::Delivery;

const PATIENCE: Duration = Duration::from_secs(30);

fn filters(folder: &Path) -> Arc<FilterSet> {
    let file = |name: &str| FilterFile {
        name: name.into(),
        path: format!("{name}.toml").into(),
        text: format!(
            "files = [\"{}/{name}*.log\"]\nformat = \"stamped\"\nidentifiers = [\"{name}\"]\n\
             [[pattern]]\nkind = \"failed-auth\"\ntext = '{name} refused <address>'\n",
            folder.display()
        ),
        shipped: false,
    };
    Arc::new(FilterSet::compile(&[file("app"), file("other")], Mode::Normal).unwrap())
}

/// Readers, and what stands for the engine's thread.
struct Fixture {
    folder: tempfile::TempDir,
    config: Config,
    filters: Arc<FilterSet>,
    readers: Readers,
    inputs: Receiver<Input>,
    /// Last bytes of the addresses that were seen, in order.
    seen: Vec<u8>,
    gone: usize,
    news: Vec<News>,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.source.journald = Journald::Off;
        config.source.files.clear();
        let filters = filters(folder.path());
        let (to, inputs) = sync_channel(QUEUE);
        let readers = Readers::new(to, Vec::new());
        Self { folder, config, filters, readers, inputs, seen: vec![], gone: 0, news: vec![] }
    }

    /// Stops everything and starts it again with the positions that were saved.
    fn again(mut self) -> Self {
        self.readers.stop();
        while !self.readers.ended() {
            self.take(Duration::from_millis(5));
        }
        let positions = self.readers.positions.into_values().collect();
        let (to, inputs) = sync_channel(QUEUE);
        Self { readers: Readers::new(to, positions), inputs, ..self }
    }

    fn start(&mut self) {
        self.news = self.readers.start(&self.config, &self.filters);
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, last_byte: u8) {
        let line = format!("2026-11-20 00:00:00 app refused 192.0.2.{last_byte}\n");
        let mut file = fs::File::options().append(true).create(true).open(self.path(name)).unwrap();
        std::io::Write::write_all(&mut file, line.as_bytes()).unwrap();
    }

    /// As if a look had found all that is there.
    fn look(&mut self, since: Option<Wall>) {
        let paths = fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        self.found(Look { paths, left_out: 0, since });
    }

    fn found(&mut self, look: Look) {
        self.news = self.readers.start_own(look, &self.config, &self.filters);
    }

    fn take(&mut self, patience: Duration) {
        match self.inputs.recv_timeout(patience) {
            Ok(Input::Delivery(Delivery::Batch(batch))) => {
                let last_byte = |address: std::net::IpAddr| match address {
                    std::net::IpAddr::V4(address) => address.octets()[3],
                    std::net::IpAddr::V6(_) => 0,
                };
                self.seen.extend(batch.sightings().map(|sighting| last_byte(sighting.address)));
                if let Some(position) = &batch.position {
                    self.readers.remember(position);
                }
            }
            Ok(Input::Delivery(Delivery::Gone(id))) => {
                self.readers.forget(id);
                self.gone += 1;
            }
            // Looks are made by hand.
            _ => {}
        }
    }

    fn until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !done(self) {
            assert!(Instant::now() < deadline, "{what}: {:?}", self.seen);
            self.take(Duration::from_millis(20));
        }
    }

    fn expect(&mut self, seen: &[u8]) {
        self.until(&format!("{seen:?}"), |this| this.seen.len() >= seen.len());
        assert_eq!(self.seen, seen);
    }

    /// Waits until the reader has taken up a file.
    fn has_taken_up(&mut self, name: &str) {
        let name = self.path(name).to_str().unwrap().to_owned();
        self.until(&name, |this| this.readers.positions.contains_key(&name));
    }
}

#[test]
fn a_file_that_comes_after_the_first_look_is_read_from_its_beginning() {
    let mut f = Fixture::new();
    f.write("app-1.log", 1);
    let first_look = Wall::now();
    f.start();
    f.look(None);
    f.has_taken_up("app-1.log");
    f.write("app-1.log", 2);
    f.expect(&[2]);
    std::thread::sleep(Duration::from_millis(20));
    f.write("app-2.log", 3);
    f.look(Some(first_look));
    f.expect(&[2, 3]);
    f.write("app-2.log", 4);
    f.expect(&[2, 3, 4]);
}

#[test]
fn a_file_born_while_guard_was_stopped_is_read_from_its_beginning() {
    let mut f = Fixture::new();
    f.write("app-1.log", 1);
    f.start();
    f.look(None);
    f.has_taken_up("app-1.log");
    f.write("app-1.log", 2);
    f.expect(&[2]);
    let mut f = f.again();
    std::thread::sleep(Duration::from_millis(20));
    f.write("app-2.log", 3);
    // Nobody has ever read a file of this service.
    fs::write(f.path("other.log"), "2026-11-20 00:00:00 other refused 192.0.2.9\n").unwrap();
    f.start();
    f.look(None);
    f.expect(&[2, 3]);
    f.has_taken_up("other.log");
    f.write("app-1.log", 4);
    f.expect(&[2, 3, 4]);
}

#[test]
fn files_of_one_service_have_one_reader_and_a_deleted_one_is_given_up() {
    let mut f = Fixture::new();
    f.start();
    let first_look = Wall::now();
    std::thread::sleep(Duration::from_millis(20));
    for day in 1..=30u8 {
        f.write(&format!("app-{day}.log"), day);
        f.look(Some(first_look));
    }
    f.until("all", |f| f.seen.len() == 30);
    // Beside the one that looks for files.
    assert_eq!(f.readers.all.len(), 2);
    for day in 1..=29 {
        fs::remove_file(f.path(&format!("app-{day}.log"))).unwrap();
    }
    f.until("given up", |f| f.gone == 29);
    assert_eq!(f.readers.all.iter().flat_map(|reader| reader.of.paths()).count(), 1);
    // One that comes again is a new one.
    f.write("app-1.log", 31);
    f.look(Some(first_look));
    f.until("the new one", |f| f.seen.len() == 31);
    fs::remove_file(f.path("app-1.log")).unwrap();
    fs::remove_file(f.path("app-30.log")).unwrap();
    f.until("nothing left", |f| f.gone == 31);
    assert_eq!(f.readers.all.len(), 1, "a reader of nothing is none");
}

#[test]
fn a_file_that_is_nobodys_is_no_syslog_file() {
    let mut f = Fixture::new();
    f.start();
    let strange = f.folder.path().join(std::ffi::OsStr::from_bytes(b"app-\xff.log"));
    fs::write(&strange, "").unwrap();
    f.write("nobody.log", 1);
    f.look(None);
    assert_eq!(f.news, []);
    assert_eq!(f.readers.all.len(), 1, "only the one that looks for files");
    // What was found before a reload that says otherwise.
    f.write("app.log", 1);
    f.config.source.service_files = false;
    f.look(None);
    assert_eq!(f.news, []);
    f.config.source.service_files = true;
    f.look(None);
    assert_eq!(f.news.len(), 1);
}

#[test]
fn a_search_for_files_that_ends_is_told() {
    let mut f = Fixture::new();
    let (_, nobody) = sync_channel(1);
    // Nobody listens to what it finds, which ends it.
    f.inputs = nobody;
    f.start();
    assert_eq!(f.news, [News::Finder(None), News::LeftOut(0), News::Journal(None), News::Finder(None)]);
    let deadline = Instant::now() + PATIENCE;
    while !f.readers.lost_one() {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(5));
    }
    let news = f.readers.keep(Instant::now(), &f.config, &f.filters);
    let [News::Finder(Some(why))] = &news[..] else { panic!("{news:?}") };
    assert!(why.contains("not looked for") && why.contains("tries again"), "{why}");
    let later = Instant::now() + Duration::from_secs(2);
    assert_eq!(f.readers.keep(later, &f.config, &f.filters), [News::Finder(None)]);
}

#[test]
fn a_file_given_to_filters_that_disagree_is_not_read() {
    let mut f = Fixture::new();
    let file = |name: &str, pattern: &str| FilterFile {
        name: name.into(),
        path: format!("{name}.toml").into(),
        text: format!(
            "files = [\"/nowhere/{name}.log\"]\nformat = \"stamped\"\n\
             [[pattern]]\nkind = \"failed-auth\"\ntext = '{pattern}'\n"
        ),
        shipped: false,
    };
    let rivals =
        [file("a", "user <account> <address>"), file("b", "user <account> <address> <token> <token>")];
    f.filters = Arc::new(FilterSet::compile(&rivals, Mode::Normal).unwrap());
    let path = f.path("both.log");
    fs::write(&path, "").unwrap();
    let given = |filters: &[&str]| crate::config::FileSource {
        path: path.clone(),
        journal_copy: false,
        filters: filters.iter().map(|name| (*name).to_owned()).collect(),
    };
    f.config.source.files = vec![given(&["a", "b"])];
    f.start();
    let deadline = Instant::now() + PATIENCE;
    while !f.readers.lost_one() {
        assert!(Instant::now() < deadline);
        f.take(Duration::from_millis(5));
    }
    let news = f.readers.keep(Instant::now(), &f.config, &f.filters);
    let [News::Source(_, status)] = &news[..] else { panic!("{news:?}") };
    assert!(!status.healthy && status.state.contains("two readings"), "{status:?}");
    f.config.source.files = vec![given(&["a"])];
    let mut f = f.again();
    f.start();
    f.has_taken_up("both.log");
}

#[test]
fn files_that_are_too_many_are_told_of_when_their_number_changes() {
    let mut f = Fixture::new();
    f.start();
    let mut told = |left_out| {
        f.found(Look { paths: vec![], left_out, since: None });
        std::mem::take(&mut f.news)
    };
    assert_eq!(told(0), []);
    assert_eq!(told(3), [News::LeftOut(3)]);
    assert_eq!(told(3), []);
    assert_eq!(told(0), [News::LeftOut(0)]);
}

#[test]
fn a_journal_that_comes_to_life_is_noticed() {
    let mut f = Fixture::new();
    let journal = f.path("system.journal");
    fs::write(&journal, journald::header_of(7)).unwrap();
    f.config.source.journald = Journald::Auto;
    f.config.source.journal_paths = vec![f.folder.path().to_owned()];
    f.start();
    assert!(f.news.iter().any(|news| matches!(news, News::Journal(Some(_)))), "{:?}", f.news);
    assert!(!f.readers.is_journal_otherwise(&f.config));
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let boot = u128::from_str_radix(&boot.trim().replace('-', ""), 16).unwrap();
    fs::write(&journal, journald::header_of(boot)).unwrap();
    assert!(f.readers.is_journal_otherwise(&f.config));
    let mut f = f.again();
    f.start();
    assert!(f.news.contains(&News::Journal(None)), "{:?}", f.news);
    assert!(!f.readers.is_journal_otherwise(&f.config));
}

#[test]
fn what_readers_that_were_given_up_still_deliver_is_nobodys() {
    let mut f = Fixture::new();
    f.config.source.service_files = true;
    f.start();
    f.write("app.log", 1);
    f.look(None);
    let sources = |f: &Fixture| -> Vec<SourceId> {
        let of = |news: &News| if let News::Source(id, _) = news { Some(*id) } else { None };
        f.news.iter().filter_map(of).collect()
    };
    let before = sources(&f);
    assert!(!before.is_empty() && before.iter().all(|id| f.readers.has(*id)));
    // As after a reload in which they did not end in time.
    f.readers.stop();
    f.readers.clear();
    f.start();
    f.look(None);
    let after = sources(&f);
    assert!(!after.is_empty() && after.iter().all(|id| f.readers.has(*id)));
    assert!(!before.iter().any(|id| f.readers.has(*id)), "{before:?} {after:?}");
}

#[test]
fn places_in_files_that_are_gone_for_long_are_forgotten() {
    let mut f = Fixture::new();
    f.write("app-1.log", 1);
    f.write("app-2.log", 1);
    f.start();
    f.look(None);
    f.has_taken_up("app-1.log");
    f.has_taken_up("app-2.log");
    f.readers.remember(&Position { source: "journald".into(), place: "of the journal's own form".into() });
    fs::remove_file(f.path("app-1.log")).unwrap();

    let (now, read) = (Instant::now(), Wall::now());
    let mut forget = |now: Instant, wall: Wall| {
        let mut gone = f.readers.forget_gone(now, wall);
        let until = Instant::now() + Duration::from_secs(10);
        while f.readers.gone.is_busy() {
            assert!(Instant::now() < until);
            std::thread::sleep(Duration::from_millis(1));
            gone.extend(f.readers.forget_gone(now, wall));
        }
        gone
    };
    assert_eq!(forget(now, read), [""; 0], "it may come back");
    let later = Wall(read.0 + KEPT.as_millis() as i64);
    assert_eq!(forget(now + Duration::from_secs(3600), later), [""; 0], "once a day is enough");
    let gone = forget(now + DAY, later);
    assert_eq!(gone, [f.path("app-1.log").to_str().unwrap()]);
    let mut left: Vec<_> = f.readers.positions.keys().cloned().collect();
    left.sort();
    assert_eq!(left, [f.path("app-2.log").to_str().unwrap(), "journald"]);
}
