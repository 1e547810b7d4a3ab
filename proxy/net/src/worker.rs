//! The thread that has entered a container's network namespace and never leaves it, so that nothing can leak. It can be left
//! behind when the kernel does not answer.

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
    /// In this namespace.
    pub(crate) fn start(namespace: Arc<OwnedFd>) -> Result<Self, NetError> {
        share_memory();
        let (tasks, receiver) = channel();
        let work = move || serve(&namespace, &receiver);
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

/// An arena of its own for a thread that only works while another waits costs more system calls than its work.
#[allow(unsafe_code, reason = "a setting of the C library")]
fn share_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes two numbers.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

fn serve(namespace: &OwnedFd, tasks: &Receiver<Task>) {
    let mut stack = Stack::new(Some(namespace));
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
        let own = std::fs::File::open("/proc/thread-self/ns/net").unwrap();
        let mut worker = Worker::start(Arc::new(own.into())).unwrap();
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
