//! Does what rules want outside of guard, commands and webhooks: a few at a time, never on the engine's thread.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, TrySendError, channel, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tracing::warn;

use super::{command, webhook};
use crate::metrics::OrderCount;
use crate::rules::{Order, Task};
use crate::source::Stop;

/// Orders that are carried out at once.
const AT_ONCE: usize = 4;
/// Orders that wait.
const WAITING: usize = 64;
/// Rules whose last failure is remembered.
const REMEMBERED: usize = 20;
/// How long the end waits for them to be gone.
const PATIENCE: Duration = Duration::from_secs(1);

/// Carries out orders of one kind.
pub(super) struct Orders {
    /// Started with the first.
    running: Option<Running>,
    told: Arc<Told>,
    /// Which of its changes are known.
    known: u64,
}

struct Running {
    queue: SyncSender<Order>,
    stop: Stop,
    /// Closed when every thread has ended.
    ended: Receiver<()>,
}

/// What the threads tell.
#[derive(Debug, Default)]
struct Told {
    /// What people call such an order.
    noun: &'static str,
    done: AtomicU64,
    failed: AtomicU64,
    timeout: AtomicU64,
    dropped: AtomicU64,
    failures: Mutex<Failures>,
    /// How often `failures` changed.
    changes: AtomicU64,
}

#[derive(Debug, Default)]
struct Failures {
    /// By rule how its last order failed.
    last: BTreeMap<Box<str>, String>,
    /// The rules there are, once that is known. An order may outlive its rule.
    rules: Option<HashSet<Box<str>>>,
}

impl Orders {
    /// Nothing yet. `noun` is what people call such an order.
    pub(super) fn new(noun: &'static str) -> Self {
        Self { running: None, told: Arc::new(Told { noun, ..Told::default() }), known: 0 }
    }

    /// These are the rules from now on: how orders of others failed is forgotten.
    pub(super) fn set_rules(&mut self, rules: HashSet<Box<str>>) {
        let mut failures = self.told.failures();
        let before = failures.last.len();
        failures.last.retain(|rule, _| rules.contains(rule));
        if failures.last.len() < before {
            self.told.changes.fetch_add(1, Ordering::Release);
        }
        failures.rules = Some(rules);
    }

    /// Has an order carried out. Never waits: if too many wait already, it is dropped and counted.
    pub(super) fn run(&mut self, order: Order) {
        let running = match &mut self.running {
            Some(running) => running,
            None => match Running::start(&self.told) {
                Ok(running) => self.running.insert(running),
                Err(cause) => {
                    self.told.failed.fetch_add(1, Ordering::Relaxed);
                    return self.told.fail(&order.rule, format!("there is no thread for it: {cause}"));
                }
            },
        };
        if let Err(TrySendError::Full(order) | TrySendError::Disconnected(order)) =
            running.queue.try_send(order)
        {
            self.told.dropped.fetch_add(1, Ordering::Relaxed);
            self.told.fail(&order.rule, format!("dropped: {WAITING} wait already"));
        }
    }

    /// What became of them.
    pub(super) fn count(&self) -> OrderCount {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let Told { done, failed, timeout, dropped, .. } = &*self.told;
        OrderCount { done: read(done), failed: read(failed), timeout: read(timeout), dropped: read(dropped) }
    }

    /// Rules whose last order failed, in words, if that has changed since the last call.
    pub(super) fn news(&mut self) -> Option<Vec<String>> {
        let changes = self.told.changes.load(Ordering::Acquire);
        (std::mem::replace(&mut self.known, changes) != changes).then(|| self.failures())
    }

    fn failures(&self) -> Vec<String> {
        let failures = self.told.failures();
        let noun = self.told.noun;
        failures.last.iter().map(|(rule, how)| format!("the {noun} of rule {rule}: {how}")).collect()
    }

    /// Ends those that are under way.
    pub(super) fn stop(self) {
        if let Some(Running { queue, stop, ended }) = self.running {
            stop.set();
            drop(queue);
            // Nothing is ever sent: it is over when the last thread is, or when that takes too long.
            let _ = ended.recv_timeout(PATIENCE);
        }
    }
}

impl Running {
    fn start(told: &Arc<Told>) -> io::Result<Self> {
        let stop = Stop::new()?;
        let (queue, orders) = sync_channel(WAITING);
        let (alive, ended) = channel();
        let orders = Arc::new(Mutex::new(orders));
        for _ in 0..AT_ONCE {
            let (orders, told, stop, alive) =
                (Arc::clone(&orders), Arc::clone(told), stop.clone(), alive.clone());
            thread::Builder::new()
                .name(told.noun.into())
                .spawn(move || work(&orders, &told, &stop, alive))?;
        }
        Ok(Self { queue, stop, ended })
    }
}

impl Told {
    fn failures(&self) -> MutexGuard<'_, Failures> {
        // Whoever panicked with it left a whole map.
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fail(&self, rule: &str, how: String) {
        let mut failures = self.failures();
        if failures.rules.as_ref().is_some_and(|rules| !rules.contains(rule)) {
            return;
        }
        if failures.last.len() < REMEMBERED || failures.last.contains_key(rule) {
            failures.last.insert(rule.into(), how);
        }
        drop(failures);
        self.changes.fetch_add(1, Ordering::Release);
    }

    fn succeed(&self, rule: &str) {
        self.done.fetch_add(1, Ordering::Relaxed);
        if self.failures().last.remove(rule).is_some() {
            self.changes.fetch_add(1, Ordering::Release);
        }
    }
}

/// How an order failed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// It took too long.
    Timeout(String),
    /// In another way.
    Other(String),
}

/// Carries out one order after the other, until there are no more or the end is near. `_alive` is dropped with the thread.
fn work(orders: &Mutex<Receiver<Order>>, told: &Told, stop: &Stop, _alive: Sender<()>) {
    loop {
        let order = orders.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(order) = order else { return };
        if stop.is_set() {
            return;
        }
        let outcome = match &order.task {
            Task::Run { command, environment } => command::run(command, environment, stop),
            Task::Post { webhook, document } => webhook::post(webhook, document),
        };
        match outcome {
            Ok(()) => told.succeed(&order.rule),
            Err(failure) => {
                let (counter, how) = match failure {
                    Failure::Timeout(how) => (&told.timeout, how),
                    Failure::Other(how) => (&told.failed, how),
                };
                counter.fetch_add(1, Ordering::Relaxed);
                warn!(rule = &*order.rule, "{} failed: {how}", told.noun);
                told.fail(&order.rule, how);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use std::time::Instant;

    use super::*;
    use crate::rules::action;

    fn order(rule: &str, arguments: &[&str], timeout: Duration) -> Order {
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let command = action::Command { program: "/bin/sh".into(), arguments, timeout };
        let environment = vec![("GUARD_RULE", rule.to_owned()), ("GUARD_LINE", "$(id) `id` 'x'".to_owned())];
        Order { rule: rule.into(), task: Task::Run { command, environment } }
    }

    fn until(what: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !what() {
            assert!(Instant::now() < deadline, "it does not come");
            thread::yield_now();
        }
    }

    fn changes(orders: &Orders) -> u64 {
        orders.told.changes.load(Ordering::Acquire)
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_command_gets_the_facts_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out");
        let script = format!(
            "env | sort > {0}.tmp; ls -l /proc/self/fd >> {0}.tmp; pwd >> {0}.tmp; mv {0}.tmp {0}",
            out.display()
        );
        let _open = std::fs::File::create(folder.path().join("marker")).unwrap();
        let mut commands = Orders::new("command");
        commands.run(order("one", &["-c", &script], LONG));
        until(|| commands.count().done == 1);
        let text = std::fs::read_to_string(&out).unwrap();
        let lines: Vec<_> =
            text.lines().filter(|line| !line.starts_with("_=") && !line.starts_with("PWD=")).collect();
        assert_eq!(
            lines[..3],
            ["GUARD_LINE=$(id) `id` 'x'", "GUARD_RULE=one", &format!("PATH={}", command::PATH)],
            "{text}"
        );
        assert_eq!(lines.last(), Some(&"/"), "{text}");
        assert!(text.contains("/proc/") && !text.contains("marker"), "guard's own files are closed: {text}");
        assert!(commands.failures().is_empty());
        commands.stop();
    }

    #[test]
    fn failures_are_counted_and_named_until_the_next_success() {
        let mut commands = Orders::new("command");
        commands.run(order("one", &["-c", "exit 3"], LONG));
        until(|| commands.count().failed == 1 && changes(&commands) == 1);
        assert_eq!(commands.failures(), ["the command of rule one: /bin/sh ended with exit status: 3"]);
        let mut missing = order("two", &[], LONG);
        let Task::Run { command, .. } = &mut missing.task else { panic!() };
        command.program = "/nonexistent/program".into();
        commands.run(missing);
        until(|| changes(&commands) == 2);
        assert!(
            commands.failures()[1]
                .starts_with("the command of rule two: /nonexistent/program cannot be started")
        );
        commands.run(order("one", &["-c", "true"], LONG));
        until(|| changes(&commands) == 3);
        assert_eq!((commands.count().done, commands.failures().len()), (1, 1));
        commands.stop();
    }

    #[test]
    fn how_a_command_failed_is_forgotten_with_its_rule() {
        let mut commands = Orders::new("command");
        commands.run(order("one", &["-c", "exit 3"], LONG));
        commands.run(order("two", &["-c", "exit 4"], LONG));
        until(|| commands.failures().len() == 2);
        let before = changes(&commands);
        commands.set_rules(["two".into()].into());
        assert_eq!(commands.failures(), ["the command of rule two: /bin/sh ended with exit status: 4"]);
        assert_ne!(changes(&commands), before);
        commands.run(order("one", &["-c", "exit 5"], LONG));
        until(|| commands.count().failed == 3);
        commands.stop();
    }

    /// Whether a process of this number does something still.
    fn lives(pid: &str) -> bool {
        let stat = std::fs::read_to_string(Path::new("/proc").join(pid).join("stat")).unwrap_or_default();
        !stat.is_empty() && !stat.contains(") Z ")
    }

    #[test]
    fn who_takes_too_long_is_killed_with_his_children() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("pids");
        let script = format!("sleep 600 & echo $$ $! > {0}.tmp; mv {0}.tmp {0}; wait", out.display());
        let mut commands = Orders::new("command");
        commands.run(order("slow", &["-c", &script], Duration::from_secs(1)));
        until(|| commands.count().timeout == 1 && changes(&commands) == 1);
        assert_eq!(commands.failures(), ["the command of rule slow: /bin/sh was killed after 1s"]);
        let pids = std::fs::read_to_string(&out).unwrap();
        until(|| !pids.split_whitespace().any(lives));

        std::fs::remove_file(&out).unwrap();
        commands.run(order("slow", &["-c", &script], LONG));
        until(|| out.exists());
        let pids = std::fs::read_to_string(&out).unwrap();
        commands.stop();
        until(|| !pids.split_whitespace().any(lives));
    }

    #[test]
    fn only_so_many_run_and_wait() {
        let folder = tempfile::tempdir().unwrap();
        let gate = folder.path().join("gate");
        let script = format!("echo x >> {0}.began; until [ -e {0} ]; do sleep 0.02; done", gate.display());
        let mut commands = Orders::new("command");
        let began =
            || std::fs::read_to_string(gate.with_extension("began")).unwrap_or_default().lines().count();
        for _ in 0..AT_ONCE {
            commands.run(order("busy", &["-c", &script], LONG));
        }
        until(|| began() == AT_ONCE);
        for _ in 0..WAITING + 10 {
            commands.run(order("busy", &["-c", &script], LONG));
        }
        assert_eq!(commands.count().dropped, 10);
        assert_eq!(commands.failures(), ["the command of rule busy: dropped: 64 wait already"]);
        assert_eq!(began(), AT_ONCE);
        std::fs::write(&gate, "").unwrap();
        until(|| commands.count().done == (AT_ONCE + WAITING) as u64);
        commands.stop();
    }
}
