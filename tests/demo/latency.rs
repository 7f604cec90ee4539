//! The time from log line to drop, measured from outside: when the deciding line was in the file, and when the last
//! packet of its sender still got through.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use harness::{Arena, GUARDED_V4, GUARDED_V6};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify;

/// Where the packets go.
const PORT: u16 = 9;
/// Between two packets of one sender: the resolution of the measurement.
const PACE: Duration = Duration::from_micros(100);
/// Points that lead to a ban; a failed password is one.
const THRESHOLD: usize = 5;
/// How often threads look whether they shall stop.
const BREATH: Duration = Duration::from_millis(100);

#[derive(Debug, Default)]
struct Times {
    /// Lines of each sender so far, and when the deciding one was there.
    lines: HashMap<IpAddr, (usize, Option<Instant>)>,
    /// When each sender's last packet arrived.
    arrived: HashMap<IpAddr, Instant>,
}

/// Senders, receivers and the watch over the log file. Ends when dropped.
#[derive(Debug)]
pub(crate) struct Latency {
    times: Arc<Mutex<Times>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Latency {
    /// Starts to send from `senders` and to watch `log`.
    pub(crate) fn start(arena: &Arena, log: &Path, senders: &[IpAddr]) -> Self {
        let mut latency =
            Self { times: Arc::default(), stop: Arc::new(AtomicBool::new(false)), threads: Vec::new() };
        for server in [GUARDED_V4, GUARDED_V6] {
            let socket = arena.host.enter(|| UdpSocket::bind(SocketAddr::new(server, PORT))).unwrap();
            socket.set_read_timeout(Some(BREATH)).unwrap();
            latency.spawn(move |times, stop| receive(&socket, times, stop));
        }
        for &sender in senders {
            let server = if sender.is_ipv4() { GUARDED_V4 } else { GUARDED_V6 };
            let socket = arena.outside.enter(|| UdpSocket::bind(SocketAddr::new(sender, 0))).unwrap();
            socket.connect(SocketAddr::new(server, PORT)).unwrap();
            latency.spawn(move |_, stop| send(&socket, stop));
        }
        let watch = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK).unwrap();
        inotify::add_watch(&watch, log, inotify::WatchFlags::MODIFY).unwrap();
        let mut file = File::open(log).unwrap();
        file.seek(SeekFrom::End(0)).unwrap();
        let senders = senders.to_vec();
        latency.spawn(move |times, stop| follow(&watch, &mut file, &senders, times, stop));
        latency
    }

    /// How long after the deciding line a sender's last packet got through; `None` before that, zero if it came before
    /// the line could be seen here.
    pub(crate) fn of(&self, sender: IpAddr) -> Option<Duration> {
        let times = lock(&self.times);
        let decided = times.lines.get(&sender)?.1?;
        Some(times.arrived.get(&sender)?.saturating_duration_since(decided))
    }

    fn spawn(&mut self, work: impl FnOnce(&Mutex<Times>, &AtomicBool) + Send + 'static) {
        let (times, stop) = (Arc::clone(&self.times), Arc::clone(&self.stop));
        self.threads.push(thread::spawn(move || work(&times, &stop)));
    }
}

impl Drop for Latency {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn send(socket: &UdpSocket, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        // A full queue is as good as a packet that was sent later.
        let _ = socket.send(b"guard");
        thread::sleep(PACE);
    }
}

fn receive(socket: &UdpSocket, times: &Mutex<Times>, stop: &AtomicBool) {
    let mut datagram = [0; 16];
    while !stop.load(Ordering::Relaxed) {
        if let Ok((_, from)) = socket.recv_from(&mut datagram) {
            lock(times).arrived.insert(from.ip(), Instant::now());
        }
    }
}

/// Reads what is added to the log and takes the time of each sender's deciding line.
fn follow(
    watch: &std::os::fd::OwnedFd,
    file: &mut File,
    senders: &[IpAddr],
    times: &Mutex<Times>,
    stop: &AtomicBool,
) {
    let mut unfinished = String::new();
    let breath = Timespec { tv_sec: 0, tv_nsec: BREATH.subsec_nanos().into() };
    while !stop.load(Ordering::Relaxed) {
        if poll(&mut [PollFd::new(watch, PollFlags::IN)], Some(&breath)).unwrap_or(0) == 0 {
            continue;
        }
        let now = Instant::now();
        // Which events there were does not matter: the file is read to its end.
        let _ = rustix::io::read(watch, &mut [0_u8; 4096]);
        if file.read_to_string(&mut unfinished).is_err() {
            continue;
        }
        let end = unfinished.rfind('\n').map_or(0, |newline| newline + 1);
        for line in unfinished[..end].lines().filter(|line| line.contains("Failed password")) {
            let Some(sender) = senders.iter().find(|sender| line.contains(&format!(" from {sender} ")))
            else {
                continue;
            };
            let mut times = lock(times);
            let (count, decided) = times.lines.entry(*sender).or_default();
            *count += 1;
            if *count == THRESHOLD {
                *decided = Some(now);
            }
        }
        unfinished.drain(..end);
    }
}

fn lock(times: &Mutex<Times>) -> std::sync::MutexGuard<'_, Times> {
    times.lock().unwrap_or_else(PoisonError::into_inner)
}
