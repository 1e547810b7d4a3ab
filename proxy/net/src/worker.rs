//! One thread per network namespace that a call reaches. It enters the namespace and never leaves it, so nothing can leak;
//! and it can be left behind when the kernel does not answer.

use crate::stack::Stack;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::Builder;
use std::time::Instant;
use wasmhook_net_types::NetError;

type Task = Box<dyn FnOnce(&mut Stack) + Send>;

/// Enough for a handful of calls deep; the usual two megabytes are more to map.
const STACK: usize = 256 << 10;

#[derive(Debug)]
pub(crate) struct Worker {
    tasks: Sender<Task>,
    /// It has been left behind.
    hangs: bool,
}

impl Worker {
    /// In this namespace, or in the caller's own.
    pub(crate) fn start(namespace: Option<Arc<OwnedFd>>) -> Result<Self, NetError> {
        let (tasks, receiver) = channel();
        let work = move || serve(namespace.as_deref(), &receiver);
        let started = Builder::new().name("network".into()).stack_size(STACK).spawn(work);
        started.map_err(|error| NetError::Kernel {
            doing: "a thread for the network namespace".into(),
            words: error.to_string(),
            errno: error.raw_os_error().unwrap_or_default(),
        })?;
        Ok(Self { tasks, hangs: false })
    }

    /// Does something there, and waits for it until then.
    pub(crate) fn run<T: Send + 'static>(
        &mut self,
        doing: &str,
        until: Instant,
        task: impl FnOnce(&mut Stack) -> Result<T, NetError> + Send + 'static,
    ) -> Result<T, NetError> {
        let hung = || NetError::Hung(doing.to_owned());
        if self.hangs {
            return Err(hung());
        }
        let (reply, answer) = channel();
        let task: Task = Box::new(move |stack| drop(reply.send(task(stack))));
        self.tasks.send(task).map_err(|_| hung())?;
        match answer.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(done) => done,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                self.hangs = true;
                Err(hung())
            }
        }
    }
}

fn serve(namespace: Option<&OwnedFd>, tasks: &Receiver<Task>) {
    let mut stack = Stack::new(namespace);
    while let Ok(task) = tasks.recv() {
        task(&mut stack);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn whoever_does_not_answer_is_left_behind() {
        let mut worker = Worker::start(None).unwrap();
        let soon = || Instant::now() + Duration::from_millis(50);
        assert_eq!(worker.run("a", soon(), |_| Ok(7)), Ok(7));
        let started = Instant::now();
        let hung = worker.run("link eth0", soon(), |_| {
            std::thread::sleep(Duration::from_secs(5));
            Ok(())
        });
        let words = "link eth0: no answer from the kernel in time; whether it was done is not known";
        assert_eq!(hung.unwrap_err().to_string(), words);
        assert_eq!(worker.run("b", soon(), |_| Ok(7)), Err(NetError::Hung("b".into())));
        assert!(started.elapsed() < Duration::from_secs(1));
    }
}
