//! Threads for one session: they spin between the steps of an inference and sleep between two inferences.
//!
//! Waking a sleeping thread costs microseconds, a spinning one a fraction of one; a network has tens of steps. So the workers
//! are woken once per inference and then look for work without sleeping, until the inference ends.
#![expect(unsafe_code, reason = "lends a job on the caller's stack to the workers until it is done")]

use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use sepal_kernels::par::Parallel;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;

/// A job of the caller, with its lifetime hidden.
type Job = &'static (dyn Fn(usize) + Sync);

#[derive(Default)]
struct Shared {
    /// Number of jobs published so far.
    turn: AtomicUsize,
    /// The job and its number of parts.
    job: Mutex<Option<(Job, usize)>>,
    /// Workers that have not finished the job.
    pending: AtomicUsize,
    /// Whether an inference is running.
    awake: AtomicBool,
    /// Threads, the caller's included.
    threads: usize,
    panicked: AtomicBool,
    quit: AtomicBool,
    sleep: Mutex<()>,
    alarm: Condvar,
}

/// A fixed number of threads, the caller's included.
pub struct Pool {
    shared: Arc<Shared>,
    workers: std::vec::Vec<JoinHandle<()>>,
}

impl core::fmt::Debug for Pool {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Pool").field("threads", &(self.workers.len() + 1)).finish()
    }
}

impl Pool {
    /// Starts `threads - 1` workers.
    ///
    /// # Errors
    /// What the system says when it refuses to start one.
    pub fn new(threads: usize) -> std::io::Result<Pool> {
        let shared = Arc::new(Shared { threads, ..Shared::default() });
        let mut pool = Pool { shared, workers: std::vec::Vec::with_capacity(threads.saturating_sub(1)) };
        for i in 1..threads {
            let shared = pool.shared.clone();
            // If this fails, dropping the pool ends those that have started.
            let worker = std::thread::Builder::new().name(std::format!("sepal-{i}")).spawn(move || work(&shared, i))?;
            pool.workers.push(worker);
        }
        Ok(pool)
    }

    /// Keeps the workers awake until the guard is dropped.
    pub fn wake(&self) -> Awake<'_> {
        let guard = lock(&self.shared.sleep);
        self.shared.awake.store(true, Ordering::Release);
        drop(guard);
        self.shared.alarm.notify_all();
        Awake(&self.shared)
    }
}

/// While it lives the workers of a pool look for work without sleeping.
pub struct Awake<'a>(&'a Shared);

impl Drop for Awake<'_> {
    fn drop(&mut self) {
        self.0.awake.store(false, Ordering::Release);
    }
}

impl Parallel for Pool {
    fn parts(&self) -> usize {
        self.workers.len() + 1
    }

    fn run(&self, parts: usize, job: &(dyn Fn(usize) + Sync)) {
        if parts <= 1 || self.workers.is_empty() {
            return (0..parts).for_each(job);
        }
        let s = &*self.shared;
        let awake = (!s.awake.load(Ordering::Acquire)).then(|| self.wake());
        // SAFETY: only the lifetime changes. The workers use the job between the publication below and the moment they count
        // `pending` down, and `Finish` waits for all of them before this function is left, by return or by panic.
        let job: Job = unsafe { core::mem::transmute::<&(dyn Fn(usize) + Sync), Job>(job) };
        s.pending.store(self.workers.len(), Ordering::Relaxed);
        *lock(&s.job) = Some((job, parts));
        s.turn.fetch_add(1, Ordering::Release);
        let finish = Finish(s);
        // The caller takes part 0 and whatever exceeds the workers.
        (0..parts).step_by(self.workers.len() + 1).for_each(job);
        drop(finish);
        drop(awake);
        if s.panicked.swap(false, Ordering::AcqRel) {
            panic!("a worker panicked");
        }
    }
}

/// Waits for the workers.
struct Finish<'a>(&'a Shared);

impl Drop for Finish<'_> {
    fn drop(&mut self) {
        spin_until(|| self.0.pending.load(Ordering::Acquire) == 0);
        *lock(&self.0.job) = None;
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.quit.store(true, Ordering::Release);
        drop(self.wake());
        for w in self.workers.drain(..) {
            let _ = w.join();
        }
    }
}

/// The life of worker `index`: it takes parts `index`, `index + threads`, ... of each job.
fn work(s: &Shared, index: usize) {
    let mut seen = 0;
    loop {
        let mut turns = 0u32;
        while s.turn.load(Ordering::Acquire) == seen {
            if s.quit.load(Ordering::Acquire) {
                return;
            }
            turns = turns.wrapping_add(1);
            if !s.awake.load(Ordering::Acquire) && turns > 64 {
                let mut guard = lock(&s.sleep);
                while !s.awake.load(Ordering::Acquire) && !s.quit.load(Ordering::Acquire) {
                    guard = s.alarm.wait(guard).unwrap_or_else(std::sync::PoisonError::into_inner);
                }
                turns = 0;
            }
            pause(turns);
        }
        seen = s.turn.load(Ordering::Acquire);
        let job = *lock(&s.job);
        if let Some((job, parts)) = job {
            let run = || (index..parts).step_by(s.threads).for_each(job);
            if std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_err() {
                s.panicked.store(true, Ordering::Release);
            }
        }
        s.pending.fetch_sub(1, Ordering::AcqRel);
    }
}

fn lock<T>(m: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    m.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn spin_until(ready: impl Fn() -> bool) {
    let mut turns = 0u32;
    while !ready() {
        turns = turns.wrapping_add(1);
        pause(turns);
    }
}

/// Spins; now and then lets somebody else run, who may be the one that is waited for.
fn pause(turns: u32) {
    if turns.is_multiple_of(1 << 14) { std::thread::yield_now() } else { core::hint::spin_loop() }
}
