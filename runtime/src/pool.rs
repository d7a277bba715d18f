//! Threads that wait for the parts of steps.
//!
//! ```text
//! ticket = epoch | parts | next part              one atomic word
//! caller: publish job, new ticket, wake sleepers; take parts until there are none; wait until all are done
//! worker: take parts while there are any; spin for SPIN; sleep
//! ```
//! 1. A part is taken by exchanging the ticket, epoch and all, so that a thread that wakes late can never take a part of a job
//!    that is over; nor does the caller wait for it, since parts that nobody took are the caller's.
//! 2. The next step of an inference follows within microseconds: workers spin so long, and sleep between inferences.
//! 3. A part that panics counts as done; the caller then panics in turn.
#![expect(unsafe_code, reason = "a job and its parts live on the caller's stack and are used by threads that live longer")]

use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering::SeqCst};
use core::time::Duration;
use sepal_kernels::par::{self, MAX_PARTS, Parallel, Part};
use sepal_kernels::simd::FloatRules;
use std::any::Any;
use std::boxed::Box;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Instant;
use std::vec::Vec;

/// How long a thread waits for work, or for the others' last parts, before it sleeps.
const SPIN: Duration = Duration::from_micros(50);

/// Of each thread: some times what a step takes, whatever the environment says of the stacks of threads.
const STACK: usize = 1 << 20;

/// What a step's parts are given to, as far as the pool's threads know.
type Job = &'static (dyn Fn(usize) + Sync);

/// Threads that share the parts of each step, the caller's thread among them. Used by one step at a time: a second caller, or a
/// job that calls the pool, runs its parts alone. Dropping the pool ends its threads.
#[derive(Debug)]
pub struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    /// Set while a job is running.
    busy: AtomicBool,
    /// The process that has the workers, by its number and its [`forks`].
    process: (u32, usize),
}

/// Keeps what one thread writes off the cache lines that others read.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Apart<T>(T);

#[derive(Debug, Default)]
struct Shared {
    /// Bits 0..8: next part; 8..16: parts; 16..: number of the job.
    ticket: Apart<AtomicU64>,
    /// Parts of the current job that are over.
    done: Apart<AtomicUsize>,
    /// The current job. Valid while one of its parts is not over.
    job: Apart<AtomicPtr<Job>>,
    panicked: AtomicBool,
    stop: AtomicBool,
    /// Workers that are up.
    started: AtomicUsize,
    /// Workers that sleep or are about to.
    sleepers: AtomicUsize,
    sleep: Mutex<()>,
    wake: Condvar,
    /// Whether the caller sleeps or is about to.
    waiting: AtomicBool,
    finish: Mutex<()>,
    finished: Condvar,
}

fn lock(m: &Mutex<()>) -> MutexGuard<'_, ()> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How many forks lie between this process and the first that asked, as far as the C library counts them: not those under way at that time, or
/// by a system call of one's own. Those the process's number tells, which a child may have from a process that has ended.
#[cfg(any(target_os = "linux", target_os = "android", target_os = "macos", target_os = "freebsd"))]
fn forks() -> usize {
    use core::ffi::c_int;
    type Handler = Option<extern "C" fn()>;
    // SAFETY: as POSIX declares it, in the C library that std is linked with.
    unsafe extern "C" {
        fn pthread_atfork(prepare: Handler, parent: Handler, child: Handler) -> c_int;
    }
    static FORKS: AtomicUsize = AtomicUsize::new(0);
    static WATCH: std::sync::Once = std::sync::Once::new();
    extern "C" fn child() {
        FORKS.fetch_add(1, SeqCst);
    }
    // SAFETY: the handler lives as long as this code, does not unwind, and does no more than a signal's handler may: it counts. Where there
    // is no memory to remember it, a child waits for threads that it does not have, as without this function.
    WATCH.call_once(|| _ = unsafe { pthread_atfork(None, None, Some(child)) });
    FORKS.load(SeqCst)
}

/// There are no forks here, or nobody counts them.
#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "macos", target_os = "freebsd")))]
fn forks() -> usize {
    0
}

/// The next part of a ticket and the number of all.
fn part_of(ticket: u64) -> Option<(usize, usize)> {
    let (next, parts) = ((ticket & 0xff) as usize, (ticket >> 8 & 0xff) as usize);
    (next < parts).then_some((next, parts))
}

/// Spins until `ready`, for [`SPIN`] at most. Returns whether it is.
fn spin(ready: impl Fn() -> bool) -> bool {
    let start = Instant::now();
    loop {
        for _ in 0..64 {
            if ready() {
                return true;
            }
            core::hint::spin_loop();
        }
        if start.elapsed() > SPIN {
            return false;
        }
    }
}

impl Shared {
    /// Runs parts of the current job while there are any; the first panic comes back.
    fn work(&self) -> Option<Box<dyn Any + Send>> {
        let mut panic = None;
        let mut ticket = self.ticket.0.load(SeqCst);
        while let Some((part, parts)) = part_of(ticket) {
            if let Err(now) = self.ticket.0.compare_exchange_weak(ticket, ticket + 1, SeqCst, SeqCst) {
                ticket = now;
                continue;
            }
            let job = self.job.0.load(SeqCst);
            // SAFETY: `Pool::run` stored a pointer to a live `&dyn Fn` before it published this ticket, and returns, or stores
            // another, only after `done` has counted every part. The exchange above gave this part to this thread alone and it
            // is counted below, after its last use of the job: so the pointer, and what it points to, is alive here.
            let job: Job = unsafe { *job };
            if let Err(payload) = catch_unwind(AssertUnwindSafe(|| job(part))) {
                self.panicked.store(true, SeqCst);
                // Only the first goes on, and a payload may panic as it is dropped, when nothing may: others are leaked.
                match panic {
                    None => panic = Some(payload),
                    Some(_) => core::mem::forget(payload),
                }
            }
            // Order matters for sleeping: count, then look for a sleeper; the caller announces its sleep, then looks at the count.
            if self.done.0.fetch_add(1, SeqCst) + 1 == parts && self.waiting.load(SeqCst) {
                drop(lock(&self.finish));
                self.finished.notify_one();
            }
            ticket = self.ticket.0.load(SeqCst);
        }
        panic
    }

    fn has_news(&self) -> bool {
        part_of(self.ticket.0.load(SeqCst)).is_some() || self.stop.load(SeqCst)
    }

    /// A worker's life.
    fn serve(&self) {
        // A thread has the rules of the one that starts it.
        let _rules = FloatRules::standard();
        self.started.fetch_add(1, SeqCst);
        while !self.stop.load(SeqCst) {
            // The caller panics in the payload's place; see there why it is not dropped.
            core::mem::forget(self.work());
            if spin(|| self.has_news()) {
                continue;
            }
            self.sleepers.fetch_add(1, SeqCst);
            let mut guard = lock(&self.sleep);
            while !self.has_news() {
                guard = self.wake.wait(guard).unwrap_or_else(PoisonError::into_inner);
            }
            drop(guard);
            self.sleepers.fetch_sub(1, SeqCst);
        }
    }

    /// Wakes all workers that sleep. A worker counts itself, then looks for news, then sleeps, the last two under the lock: it
    /// has seen the news, or is counted here and asleep by the time the lock is free.
    fn wake_all(&self) {
        if self.sleepers.load(SeqCst) > 0 {
            drop(lock(&self.sleep));
            self.wake.notify_all();
        }
    }
}

impl Pool {
    /// A pool of so many threads, of which it starts all but one.
    ///
    /// # Errors
    /// If a thread cannot be started.
    pub fn new(threads: usize) -> std::io::Result<Pool> {
        let threads = threads.clamp(1, MAX_PARTS);
        let workers = Vec::with_capacity(threads - 1);
        let mut pool =
            Pool { shared: Arc::default(), workers, busy: AtomicBool::new(false), process: (std::process::id(), forks()) };
        for _ in 1..threads {
            let shared = Arc::clone(&pool.shared);
            pool.workers.push(Builder::new().name("sepal".into()).stack_size(STACK).spawn(move || shared.serve())?);
        }
        // A thread allocates as it starts, and some systems make a lock when it is first used: not during an inference.
        while pool.shared.started.load(SeqCst) < pool.workers.len() {
            std::thread::yield_now();
        }
        drop((lock(&pool.shared.sleep), lock(&pool.shared.finish)));
        Ok(pool)
    }

    /// Calls `job(0)`, ..., `job(parts - 1)`, each once, on any of the threads.
    fn each(&self, parts: usize, job: &(dyn Fn(usize) + Sync)) {
        if !(2..=MAX_PARTS).contains(&parts) || self.workers.is_empty() || self.busy.swap(true, SeqCst) {
            return (0..parts).for_each(job);
        }
        let s = &*self.shared;
        s.done.0.store(0, SeqCst);
        s.panicked.store(false, SeqCst);
        s.waiting.store(false, SeqCst);
        s.job.0.store((&raw const job).cast::<Job>().cast_mut(), SeqCst);
        let number = (s.ticket.0.load(SeqCst) >> 16).wrapping_add(1);
        s.ticket.0.store(number << 16 | (parts as u64) << 8, SeqCst);
        s.wake_all();

        // Nothing may leave this function before every part is over: the job dies with it.
        let panic = s.work();
        let over = || s.done.0.load(SeqCst) == parts;
        if !spin(over) {
            s.waiting.store(true, SeqCst);
            let mut guard = lock(&s.finish);
            while !over() {
                guard = s.finished.wait(guard).unwrap_or_else(PoisonError::into_inner);
            }
        }
        let failed = s.panicked.load(SeqCst);
        self.busy.store(false, SeqCst);
        if let Some(payload) = panic {
            resume_unwind(payload);
        }
        assert!(!failed, "a thread of the pool panicked");
    }
}

impl Parallel for Pool {
    fn parts(&self) -> usize {
        self.workers.len() + 1
    }

    fn run(&self, parts: &mut [Part], job: &par::Job) {
        let first = AtomicPtr::new(parts.as_mut_ptr());
        self.each(parts.len(), &|i| {
            // SAFETY: `each` calls with each number below `parts.len()` once, so that nobody else has this part; and it returns
            // after the last call, while `parts`, borrowed until then, is still there.
            job(unsafe { &mut *first.load(SeqCst).add(i) });
        });
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        if self.process != (std::process::id(), forks()) {
            // A child of `fork` has none of the workers: nobody comes back to be joined.
            core::mem::forget(core::mem::take(&mut self.workers));
            return;
        }
        self.shared.stop.store(true, SeqCst);
        drop(lock(&self.shared.sleep));
        self.shared.wake.notify_all();
        for worker in self.workers.drain(..) {
            // A worker catches the panics of its parts: it cannot have failed itself.
            let _ = worker.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_once() {
        for threads in [1, 2, 3, 8] {
            let pool = Pool::new(threads).unwrap();
            for parts in [0, 1, 2, 5, 64, 70] {
                for round in 0..200 {
                    let counts: Vec<AtomicUsize> = (0..parts).map(|_| AtomicUsize::new(0)).collect();
                    pool.each(parts, &|i| {
                        counts[i].fetch_add(1, SeqCst);
                        if round % 50 == 0 && i == 1 {
                            std::thread::sleep(Duration::from_micros(200));
                        }
                    });
                    assert!(counts.iter().all(|c| c.load(SeqCst) == 1), "{threads} threads, {parts} parts");
                }
            }
        }
    }

    #[test]
    fn wakes_after_a_sleep() {
        let pool = Pool::new(4).unwrap();
        for _ in 0..20 {
            std::thread::sleep(Duration::from_millis(2));
            let sum = AtomicUsize::new(0);
            pool.each(4, &|i| {
                sum.fetch_add(i, SeqCst);
            });
            assert_eq!(sum.into_inner(), 6);
        }
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_goes_on() {
        let pool = Pool::new(3).unwrap();
        for bad in 0..3 {
            let result = catch_unwind(AssertUnwindSafe(|| {
                pool.each(3, &|i| {
                    if i == bad {
                        resume_unwind(Box::new("expected"));
                    }
                })
            }));
            assert!(result.is_err());
        }
        let sum = AtomicUsize::new(0);
        pool.each(3, &|i| {
            sum.fetch_add(i + 1, SeqCst);
        });
        assert_eq!(sum.into_inner(), 6);
    }

    /// A panic's payload that panics when it is dropped.
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            resume_unwind(Box::new("the payload's own"));
        }
    }

    #[test]
    fn payloads_that_panic_leave_no_part_behind() {
        let pool = Pool::new(2).unwrap();
        for _ in 0..20 {
            let over = AtomicUsize::new(0);
            let result = catch_unwind(AssertUnwindSafe(|| {
                pool.each(8, &|_| {
                    std::thread::sleep(Duration::from_micros(100));
                    over.fetch_add(1, SeqCst);
                    resume_unwind(Box::new(Bomb));
                })
            }));
            assert_eq!(over.load(SeqCst), 8, "the call came back before its parts were over");
            core::mem::forget(result);
        }
    }

    #[test]
    fn jobs_within_jobs_and_from_two_callers() {
        let pool = Pool::new(2).unwrap();
        let sum = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        pool.each(2, &|_| {
                            pool.each(3, &|i| {
                                sum.fetch_add(i, SeqCst);
                            })
                        });
                    }
                });
            }
        });
        assert_eq!(sum.into_inner(), 2 * 100 * 2 * 3);
    }
}
