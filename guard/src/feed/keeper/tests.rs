//! Feeds that are files, kept by the real thread.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::mpsc::{Receiver, channel};

use super::*;
use crate::config::FeedSource;

/// How long a keeper may take for anything here.
const PATIENCE: Duration = Duration::from_secs(20);

struct Scene {
    folder: tempfile::TempDir,
    keeper: Keeper,
    news: Receiver<News>,
}

impl Scene {
    /// A keeper of one feed, whose file holds a text.
    fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("list"), text).unwrap();
        let (keeper, news) = start(folder.path(), &[feed(folder.path())]);
        Self { folder, keeper, news }
    }

    fn restart(&mut self, feeds: &[Feed]) {
        (self.keeper, self.news) = start(self.folder.path(), feeds);
    }

    fn write(&self, text: &str) {
        fs::write(self.folder.path().join("list"), text).unwrap();
    }

    /// The next news that something is looked for in.
    fn next<T>(&self, find: impl Fn(News) -> Option<T>) -> T {
        loop {
            let news = self.news.recv_timeout(PATIENCE).expect("news");
            if let Some(found) = find(news) {
                return found;
            }
        }
    }

    fn list(&self) -> Vec<String> {
        self.next(|news| match news {
            News::List { list, .. } => Some(list.iter().map(|target| target.to_string()).collect()),
            _ => None,
        })
    }

    /// What the feed comes to when it is fetched now, and what is said of it.
    fn refresh(&self) -> (FeedState, Result<(), String>) {
        self.ask(|reply| Command::Refresh(None, reply))
    }

    fn ask(&self, command: impl FnOnce(u64) -> Command) -> (FeedState, Result<(), String>) {
        self.keeper.ask(command(7));
        let mut state = FeedState::default();
        let said = loop {
            match self.news.recv_timeout(PATIENCE).expect("news") {
                News::State(new) => state = new,
                News::Done(_, said) => break said,
                _ => {}
            }
        };
        (state, said)
    }

    /// The list that a wish brings into force.
    fn list_by(&self, command: impl FnOnce(u64) -> Command) -> Vec<String> {
        self.keeper.ask(command(7));
        let list = self.list();
        self.next(|news| matches!(news, News::Done(_, Ok(()))).then_some(()));
        list
    }

    fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path().join("feeds")).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

/// A list of so many addresses.
fn hosts(count: u8) -> String {
    (1..=count).map(|n| ["203.0.113.", &n.to_string(), "\n"].concat()).collect()
}

fn feed(folder: &Path) -> Feed {
    Feed::new("test", FeedSource::Path(folder.join("list")))
}

fn start(state: &Path, feeds: &[Feed]) -> (Keeper, Receiver<News>) {
    let (sender, news) = channel();
    let keeper = Keeper::start(feeds, state, move |news| sender.send(news).is_ok()).unwrap().unwrap();
    (keeper, news)
}

#[test]
fn a_list_comes_into_force_and_follows_its_file() {
    let scene = Scene::new("203.0.113.7\nrubbish\n0.0.0.0/0\n");
    assert!(scene.next(|news| if let News::Ready(left) = news { Some(left.is_empty()) } else { None }));
    assert_eq!(scene.list(), ["203.0.113.7"]);
    scene.write("203.0.113.7\n203.0.113.9\nmore rubbish\n");
    let list = scene.list_by(|reply| Command::Refresh(Some("test".into()), reply));
    assert_eq!(list, ["203.0.113.7", "203.0.113.9"]);
    scene.write("203.0.113.9\n203.0.113.7\nmore rubbish\n");
    let (state, said) = scene.refresh();
    assert_eq!(said, Ok(()));
    assert_eq!((state.targets, state.rubbish.count, state.failures), (Some(2), 1, 0));
    assert!(scene.ask(|reply| Command::Refresh(Some("other".into()), reply)).1.is_err());
}

#[test]
fn a_list_that_lost_most_waits_for_a_person() {
    let long = hosts(100);
    let scene = Scene::new(&long);
    assert_eq!(scene.list().len(), 100);
    scene.write("203.0.113.1\n");
    let (state, _) = scene.refresh();
    assert_eq!((state.targets, state.held), (Some(100), Some(1)));
    assert!(scene.ask(|reply| Command::Accept("other".into(), reply)).1.is_err());
    assert_eq!(scene.list_by(|reply| Command::Accept("test".into(), reply)), ["203.0.113.1"]);
    assert!(scene.ask(|reply| Command::Accept("test".into(), reply)).1.is_err(), "it is in force");

    scene.write(&long);
    assert_eq!(scene.refresh().0.targets, Some(100));
    scene.write("");
    assert_eq!(scene.refresh().0.held, Some(0));
    scene.write(&long);
    let (state, _) = scene.refresh();
    assert_eq!((state.targets, state.held), (Some(100), None), "it has grown again");
    scene.write(&hosts(50));
    assert_eq!(scene.refresh().0.targets, Some(50), "half may go");
}

#[test]
fn whatever_fails_the_last_good_list_stays() {
    let scene = Scene::new("203.0.113.7\n");
    assert_eq!(scene.list(), ["203.0.113.7"]);
    let path = scene.folder.path().join("list");
    let fails = |says: &str| {
        let (state, said) = scene.refresh();
        assert_eq!(state.targets, Some(1));
        assert!(state.failure.is_some_and(|because| because.contains(says)), "{says}");
        assert!(said.unwrap_err().contains(says));
    };
    scene.write("<html>Too many requests</html>\n");
    fails("nothing in it is an address");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    fails("chmod go-w");
    fs::remove_file(&path).unwrap();
    fails("No such file");
    scene.write("203.0.113.9\n");
    let (state, _) = scene.refresh();
    assert_eq!((state.failure, state.failures), (None, 3));
}

#[test]
fn a_copy_is_there_before_anything_is_fetched() {
    let mut scene = Scene::new("203.0.113.7\n");
    assert_eq!(scene.list(), ["203.0.113.7"]);
    fs::remove_file(scene.folder.path().join("list")).unwrap();
    let same = feed(scene.folder.path());
    scene.restart(&[same]);
    assert_eq!(scene.list(), ["203.0.113.7"]);
    // A wish makes it known that nothing else came before.
    assert!(scene.refresh().1.is_err());

    // The kernel may hold bans of a feed that nobody keeps any more, until they are gone.
    scene.restart(&[]);
    let left = scene.next(|news| if let News::Ready(left) = news { Some(left) } else { None });
    assert_eq!(left.len(), 1);
    assert_eq!(scene.files(), ["test.list"]);
    scene.keeper.ask(Command::Followed(0));
    scene.refresh().1.unwrap_err();
    assert_eq!(scene.files(), [] as [&str; 0]);
    assert!(Keeper::start(&[], &scene.folder.path().join("elsewhere"), |_| true).unwrap().is_none());
}

#[test]
fn an_old_copy_is_kept_until_bans_follow_the_new_one() {
    let scene = Scene::new("203.0.113.7\n");
    assert_eq!(scene.list(), ["203.0.113.7"]);
    scene.write("203.0.113.9\n");
    scene.keeper.ask(Command::Refresh(None, 7));
    let number = scene.next(|news| if let News::List { number, .. } = news { Some(number) } else { None });
    scene.next(|news| matches!(news, News::Done(_, Ok(()))).then_some(()));
    scene.keeper.ask(Command::Followed(number - 1));
    assert!(scene.refresh().1.is_ok());
    assert_eq!(scene.files(), ["test.list", "test.old"]);
    scene.keeper.ask(Command::Followed(number));
    assert!(scene.refresh().1.is_ok());
    assert_eq!(scene.files(), ["test.list"]);

    let other = Feed::new("other", feed(scene.folder.path()).from);
    scene.keeper.ask(Command::Configure(vec![other]));
    assert_eq!(scene.next(|news| if let News::Gone { name, .. } = news { Some(name) } else { None }), "test");
    assert_eq!(scene.list(), ["203.0.113.9"]);
    assert_eq!(scene.files(), ["other.list", "test.old"]);
}

#[test]
fn a_list_of_another_place_is_not_measured_by_the_one_before() {
    let scene = Scene::new(&hosts(100));
    assert_eq!(scene.list().len(), 100);
    fs::write(scene.folder.path().join("other"), hosts(3)).unwrap();
    let other = Feed::new("test", FeedSource::Path(scene.folder.path().join("other")));
    scene.keeper.ask(Command::Configure(vec![other]));
    assert_eq!(scene.list().len(), 3);
    // Of the same place it is.
    fs::write(scene.folder.path().join("other"), hosts(1)).unwrap();
    assert_eq!(scene.refresh().0.held, Some(1));
}

#[test]
fn a_list_that_never_changes_does_not_grow_old() {
    let scene = Scene::new(&hosts(5));
    assert_eq!(scene.list().len(), 5);
    let first = scene.refresh().0.fetched.unwrap();
    std::thread::sleep(Duration::from_millis(5));
    // Not read again; then read again, with the same content.
    let second = scene.refresh().0.fetched.unwrap();
    assert!(second > first);
    std::thread::sleep(Duration::from_millis(5));
    scene.write(&hosts(5));
    let third = scene.refresh().0.fetched.unwrap();
    assert!(third > second);
    // A list that is held back is not the one in force.
    std::thread::sleep(Duration::from_millis(5));
    scene.write(&hosts(1));
    assert_eq!(scene.refresh().0.fetched, Some(third));
}
