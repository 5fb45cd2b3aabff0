//! Panics of the device library, turned into errors.
//!
//! CubeCL runs each device on a thread of its own. A panic there (a kernel that cannot be compiled, memory that cannot be
//! had) ends the task, not the thread, and nobody is told: the next read returns whatever the buffer held. So every such
//! panic is noted here, and [`Watch`] gives it out.

use std::any::Any;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

/// How many tasks of a device thread panicked, and what the last one said.
#[derive(Debug, Clone, Default)]
struct Noted {
    count: u64,
    message: String,
}

/// By the end of the thread's name, `type-index`.
static NOTED: Mutex<BTreeMap<String, Noted>> = Mutex::new(BTreeMap::new());

thread_local! {
    /// True while this thread is inside of [`caught`], whose error says all.
    static CATCHING: Cell<bool> = const { Cell::new(false) };
}

/// Looks at one device's thread.
#[derive(Debug)]
pub(crate) struct Watch {
    thread: String,
    seen: Mutex<u64>,
}

impl Watch {
    /// Watches the device that CubeCL calls (`kind`, `index`), from now on.
    pub(crate) fn new(kind: u16, index: u16) -> Watch {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let before = panic::take_hook();
            panic::set_hook(Box::new(move |info| note(info, &*before)));
        });
        let thread = format!("{kind}-{index}");
        let seen = noted().get(&thread).map_or(0, |n| n.count);
        Watch { thread, seen: Mutex::new(seen) }
    }

    /// Name of a thread of the device.
    #[cfg(all(test, feature = "vulkan"))]
    pub(crate) fn thread_name(&self) -> String {
        format!("DSU-{}", self.thread)
    }

    /// What was said by a panic since the last call, if there was one.
    pub(crate) fn take(&self) -> Option<String> {
        let last = noted().get(&self.thread).cloned()?;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if last.count == *seen {
            return None;
        }
        *seen = last.count;
        Some(last.message)
    }
}

fn noted() -> MutexGuard<'static, BTreeMap<String, Noted>> {
    NOTED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The panic hook. What becomes an error is not printed.
fn note(info: &PanicHookInfo<'_>, before: &dyn Fn(&PanicHookInfo<'_>)) {
    let thread = std::thread::current();
    // CubeCL's names: DSU-type-index and DSD-type-index.
    let name = thread.name().unwrap_or_default();
    let device = name.strip_prefix("DSU-").or_else(|| name.strip_prefix("DSD-"));
    if let Some(device) = device {
        let mut all = noted();
        let entry = all.entry(device.to_owned()).or_default();
        entry.count += 1;
        entry.message = said(info.payload());
    } else if !CATCHING.get() {
        before(info);
    }
}

/// What a panic said.
fn said(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a panic without a message").to_owned()
}

/// Runs `body`; a panic in it is an `Err` with its message.
pub(crate) fn caught<T>(body: impl FnOnce() -> T) -> Result<T, String> {
    let before = CATCHING.replace(true);
    // The state that a panic could leave half-changed is CubeCL's; the caller poisons all that is on the device.
    let out = panic::catch_unwind(AssertUnwindSafe(body));
    CATCHING.set(before);
    out.map_err(|payload| said(&*payload))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_on_a_device_thread_is_given_out_once() {
        let (watch, other) = (Watch::new(97, 1), Watch::new(97, 2));
        let body = || panic!("no such kernel");
        let thread = std::thread::Builder::new().name("DSU-97-1".into()).spawn(body).unwrap();
        assert!(thread.join().is_err());
        assert_eq!(watch.take().as_deref(), Some("no such kernel"));
        assert_eq!((watch.take(), other.take()), (None, None));
        assert!(Watch::new(97, 1).take().is_none());
    }

    #[test]
    fn a_panic_here_is_an_error() {
        let number = 3;
        assert_eq!(caught(|| panic!("number {number}")).map(|()| 0), Err("number 3".into()));
        assert_eq!(caught(|| 5), Ok(5));
    }
}
