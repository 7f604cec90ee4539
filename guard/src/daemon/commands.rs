//! Runs the commands that rules want: without a shell, a few at a time, each for so long, never on the engine's thread.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, TrySendError, channel, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use tracing::warn;

use crate::metrics::CommandCount;
use crate::rules::Order;
use crate::source::Stop;

/// Commands that run at once.
const AT_ONCE: usize = 4;
/// Commands that wait.
const WAITING: usize = 64;
/// Rules whose last failure is remembered.
const REMEMBERED: usize = 20;
/// How long the end waits for commands to be gone.
const PATIENCE: Duration = Duration::from_secs(1);
/// Where programs find others.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Runs commands.
#[derive(Default)]
pub(super) struct Commands {
    /// Started with the first command.
    running: Option<Running>,
    told: Arc<Told>,
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
    /// By rule how its last command failed.
    last: BTreeMap<Box<str>, String>,
    /// The rules there are, once that is known. A command may outlive its rule.
    rules: Option<HashSet<Box<str>>>,
}

impl Commands {
    /// These are the rules from now on: how commands of others failed is forgotten.
    pub(super) fn set_rules(&mut self, rules: HashSet<Box<str>>) {
        let mut failures = self.told.failures();
        let before = failures.last.len();
        failures.last.retain(|rule, _| rules.contains(rule));
        if failures.last.len() < before {
            self.told.changes.fetch_add(1, Ordering::Release);
        }
        failures.rules = Some(rules);
    }

    /// Has a command run. Never waits: if too many wait already, it is dropped and counted.
    pub(super) fn run(&mut self, order: Order) {
        let running = match &mut self.running {
            Some(running) => running,
            None => match Running::start(&self.told) {
                Ok(running) => self.running.insert(running),
                Err(cause) => {
                    self.told.failed.fetch_add(1, Ordering::Relaxed);
                    return self.told.fail(&order.rule, format!("no thread to run it: {cause}"));
                }
            },
        };
        if let Err(TrySendError::Full(order) | TrySendError::Disconnected(order)) =
            running.queue.try_send(order)
        {
            self.told.dropped.fetch_add(1, Ordering::Relaxed);
            self.told.fail(&order.rule, format!("not run: {WAITING} commands wait already"));
        }
    }

    /// What became of the commands.
    pub(super) fn count(&self) -> CommandCount {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let Told { done, failed, timeout, dropped, .. } = &*self.told;
        CommandCount {
            done: read(done),
            failed: read(failed),
            timeout: read(timeout),
            dropped: read(dropped),
        }
    }

    /// A number that changes with [`Self::failures`].
    pub(super) fn changes(&self) -> u64 {
        self.told.changes.load(Ordering::Acquire)
    }

    /// Rules whose last command failed, in words.
    pub(super) fn failures(&self) -> Vec<String> {
        let failures = self.told.failures();
        failures.last.iter().map(|(rule, how)| format!("the command of rule {rule}: {how}")).collect()
    }

    /// Ends the commands that run.
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
                .name("command".into())
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

/// How a command failed.
enum Failure {
    Timeout(String),
    Other(String),
}

/// Runs one command after the other, until there are no more or the end is near. `_alive` is dropped with the thread.
fn work(orders: &Mutex<Receiver<Order>>, told: &Told, stop: &Stop, _alive: Sender<()>) {
    loop {
        let order = orders.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(order) = order else { return };
        if stop.is_set() {
            return;
        }
        match run(&order, stop) {
            Ok(()) => told.succeed(&order.rule),
            Err(failure) => {
                let (counter, how) = match failure {
                    Failure::Timeout(how) => (&told.timeout, how),
                    Failure::Other(how) => (&told.failed, how),
                };
                counter.fetch_add(1, Ordering::Relaxed);
                warn!(rule = &*order.rule, program = %order.command.program.display(), "command failed: {how}");
                told.fail(&order.rule, how);
            }
        }
    }
}

fn run(order: &Order, stop: &Stop) -> Result<(), Failure> {
    let program = order.command.program.display();
    let mut child = Command::new(&order.command.program)
        .args(&order.command.arguments)
        .env_clear()
        .env("PATH", PATH)
        .envs(order.environment.iter().map(|(name, text)| (name, text)))
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .map_err(|cause| Failure::Other(format!("{program} cannot be started: {cause}")))?;
    // It must not outlive others for guard's sake when memory is short. It may have ended already.
    let _ = std::fs::write(format!("/proc/{}/oom_score_adj", child.id()), "0");
    let ended = wait(&child, order.command.timeout, stop);
    if !matches!(ended, Ok(true)) {
        // Its number is its own until it is waited for, and its group's.
        let _ = kill_process_group(Pid::from_child(&child), Signal::KILL);
    }
    let status = child.wait();
    match (ended, status) {
        (Ok(true), Ok(status)) if status.success() => Ok(()),
        (Ok(true), Ok(status)) => Err(Failure::Other(format!("{program} ended with {status}"))),
        (Ok(false), _) if stop.is_set() => Err(Failure::Other(format!("{program} was ended with guard"))),
        (Ok(false), _) => {
            let timeout = crate::config::units::show_duration(order.command.timeout);
            Err(Failure::Timeout(format!("{program} was killed after {timeout}")))
        }
        (Err(cause), _) | (_, Err(cause)) => {
            Err(Failure::Other(format!("{program} cannot be waited for: {cause}")))
        }
    }
}

/// Waits until a process has ended; `false` if its time was over first, or guard's.
fn wait(child: &Child, timeout: Duration, stop: &Stop) -> io::Result<bool> {
    let process = pidfd_open(Pid::from_child(child), PidfdFlags::empty())?;
    let deadline = Instant::now() + timeout;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        };
        let mut both = [PollFd::new(&process, PollFlags::IN), PollFd::new(stop, PollFlags::IN)];
        match poll(&mut both, Some(&timeout)) {
            Ok(0) => return Ok(false),
            Ok(_) => return Ok(!both[0].revents().is_empty()),
            Err(rustix::io::Errno::INTR) => {}
            Err(cause) => return Err(cause.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::rules::action;

    fn order(rule: &str, arguments: &[&str], timeout: Duration) -> Order {
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let command = action::Command { program: "/bin/sh".into(), arguments, timeout };
        let environment = vec![("GUARD_RULE", rule.to_owned()), ("GUARD_LINE", "$(id) `id` 'x'".to_owned())];
        Order { rule: rule.into(), command, environment }
    }

    fn until(what: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !what() {
            assert!(Instant::now() < deadline, "it does not come");
            thread::yield_now();
        }
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
        let mut commands = Commands::default();
        commands.run(order("one", &["-c", &script], LONG));
        until(|| commands.count().done == 1);
        let text = std::fs::read_to_string(&out).unwrap();
        let lines: Vec<_> =
            text.lines().filter(|line| !line.starts_with("_=") && !line.starts_with("PWD=")).collect();
        assert_eq!(
            lines[..3],
            ["GUARD_LINE=$(id) `id` 'x'", "GUARD_RULE=one", &format!("PATH={PATH}")],
            "{text}"
        );
        assert_eq!(lines.last(), Some(&"/"), "{text}");
        assert!(text.contains("/proc/") && !text.contains("marker"), "guard's own files are closed: {text}");
        assert!(commands.failures().is_empty());
        commands.stop();
    }

    #[test]
    fn failures_are_counted_and_named_until_the_next_success() {
        let mut commands = Commands::default();
        commands.run(order("one", &["-c", "exit 3"], LONG));
        until(|| commands.count().failed == 1 && commands.changes() == 1);
        assert_eq!(commands.failures(), ["the command of rule one: /bin/sh ended with exit status: 3"]);
        let mut missing = order("two", &[], LONG);
        missing.command.program = "/nonexistent/program".into();
        commands.run(missing);
        until(|| commands.changes() == 2);
        assert!(
            commands.failures()[1]
                .starts_with("the command of rule two: /nonexistent/program cannot be started")
        );
        commands.run(order("one", &["-c", "true"], LONG));
        until(|| commands.changes() == 3);
        assert_eq!((commands.count().done, commands.failures().len()), (1, 1));
        commands.stop();
    }

    #[test]
    fn how_a_command_failed_is_forgotten_with_its_rule() {
        let mut commands = Commands::default();
        commands.run(order("one", &["-c", "exit 3"], LONG));
        commands.run(order("two", &["-c", "exit 4"], LONG));
        until(|| commands.failures().len() == 2);
        let changes = commands.changes();
        commands.set_rules(["two".into()].into());
        assert_eq!(commands.failures(), ["the command of rule two: /bin/sh ended with exit status: 4"]);
        assert_ne!(commands.changes(), changes);
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
        let mut commands = Commands::default();
        commands.run(order("slow", &["-c", &script], Duration::from_secs(1)));
        until(|| commands.count().timeout == 1 && commands.changes() == 1);
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
        let mut commands = Commands::default();
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
        assert_eq!(commands.failures(), ["the command of rule busy: not run: 64 commands wait already"]);
        assert_eq!(began(), AT_ONCE);
        std::fs::write(&gate, "").unwrap();
        until(|| commands.count().done == (AT_ONCE + WAITING) as u64);
        commands.stop();
    }
}
