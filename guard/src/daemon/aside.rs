//! Work that may take long, in a thread beside the engine's, which looks from time to time whether it is done.

use std::io;
use std::thread::{self, JoinHandle};

/// One piece of work at a time.
#[derive(Debug)]
pub(super) struct Aside<T>(Option<JoinHandle<T>>);

impl<T: Send + 'static> Aside<T> {
    /// No work yet.
    pub(super) const fn new() -> Self {
        Self(None)
    }

    /// Begins some in a thread of this name; what was under way is left to itself.
    pub(super) fn begin(&mut self, name: &str, work: impl FnOnce() -> T + Send + 'static) -> io::Result<()> {
        self.0 = Some(thread::Builder::new().name(name.to_owned()).spawn(work)?);
        Ok(())
    }

    /// Whether there is some, or what it came to has not been taken.
    pub(super) const fn is_busy(&self) -> bool {
        self.0.is_some()
    }

    /// What it came to, once it is done; an error where it ended in a panic. Does not wait.
    pub(super) fn done(&mut self) -> Option<thread::Result<T>> {
        self.0.take_if(|thread| thread.is_finished()).map(JoinHandle::join)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn nobody_waits_for_work_and_what_it_came_to_is_told_once() {
        let (go, gate) = channel();
        let mut aside = Aside::new();
        assert!(!aside.is_busy() && aside.done().is_none());
        aside.begin("test", move || gate.recv().unwrap()).unwrap();
        assert!((0..1000).all(|_| aside.done().is_none()) && aside.is_busy());
        go.send(7).unwrap();
        assert_eq!(end(&mut aside).unwrap(), 7);
        assert!(!aside.is_busy() && aside.done().is_none());

        aside.begin("test", || panic!("as it may")).unwrap();
        assert!(end(&mut aside).is_err());
        assert!(!aside.is_busy());
    }

    fn end<T: Send + 'static>(aside: &mut Aside<T>) -> thread::Result<T> {
        let until = Instant::now() + Duration::from_secs(10);
        loop {
            if let Some(done) = aside.done() {
                return done;
            }
            assert!(Instant::now() < until);
            thread::sleep(Duration::from_millis(1));
        }
    }
}
