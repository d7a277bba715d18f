//! Runs sessions over one model for a long time and looks for what should not be: other bits, more memory, heap calls, slower runs.
//!
//! `cargo run --release -p sepal-benches --bin soak -- [--minutes M] [--sessions N] [--pause MS] [--idle] [MODEL.sepal]`; without a
//! model, the built-in network. One session a thread, each with inputs of its own; with a pause, each waits so long between its runs,
//! as one does that serves a camera. Prints a line for each tenth of the time; exit code 1 if a bit differs or memory grows: what is
//! resident, or by a byte what is on the heap. Linux only, since it reads `/proc`. With `--idle`, which says that nothing else runs,
//! also if the median of the last tenth is a fifth slower than that of the first; elsewhere latencies say little and are only printed.

use sepal::{AlignedBytes, Model, Options, Session};
use sepal_converter::convert::{ConvertOptions, convert_bytes};
use std::error::Error;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

#[global_allocator]
static HEAP: sepal_heap::Counting = sepal_heap::Counting;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Bytes of this process that are in memory.
fn resident() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse::<u64>()? * 1024)
}

/// How long runs took: counts by powers of 2^(1/8) microseconds, so that nothing grows.
#[derive(Clone)]
struct Latencies {
    buckets: [u64; 256],
}

impl Latencies {
    fn new() -> Self {
        Latencies { buckets: [0; 256] }
    }
    fn add(&mut self, time: Duration) {
        let bucket = ((time.as_secs_f64() * 1e6).max(1.0).log2() * 8.0) as usize;
        self.buckets[bucket.min(255)] += 1;
    }
    /// Microseconds that a share of the runs does not exceed, to 9 %.
    fn quantile(&self, share: f64) -> f64 {
        let all: u64 = self.buckets.iter().sum();
        let mut left = (all as f64 * share).ceil() as u64;
        for (i, &n) in self.buckets.iter().enumerate() {
            if left <= n {
                return 2f64.powf((i + 1) as f64 / 8.0);
            }
            left -= n;
        }
        f64::INFINITY
    }
}

/// The bits of all outputs for input number `which`, as one number.
fn run(session: &mut Session<'_>, which: u64) -> u64 {
    let mut state = which.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for i in 0.. {
        let Some(input) = session.input_mut(i) else { break };
        for v in input {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            *v = (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0;
        }
    }
    session.run();
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    for i in 0.. {
        let Some(output) = session.output(i) else { break };
        for v in output {
            hash = (hash ^ u64::from(v.to_bits())).wrapping_mul(0x0100_0000_01b3);
        }
    }
    hash
}

/// Different inputs.
const INPUTS: u64 = 8;

fn soak(model: &Model<'_>, sessions: usize, time: Duration, pause: Duration, idle: bool) -> Result<bool> {
    let want: Vec<u64> = {
        let mut session = Session::new(model, Options::default())?;
        (0..INPUTS).map(|i| run(&mut session, i)).collect()
    };
    let (stop, runs, wrong) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let latencies = Mutex::new(Latencies::new());
    let mut all: Vec<Session<'_>> =
        (0..sessions).map(|_| Session::new(model, Options::default())).collect::<std::result::Result<_, _>>()?;
    // Has its room before the first tenth ends, from when on the heap must not grow.
    let mut lines: Vec<Line> = Vec::with_capacity(10);
    std::thread::scope(|scope| -> Result<()> {
        for (first, session) in all.iter_mut().enumerate() {
            let (stop, runs, wrong, want, latencies) = (&stop, &runs, &wrong, &want, &latencies);
            scope.spawn(move || {
                let mut which = first as u64;
                while !stop.load(Relaxed) {
                    which = (which + 1) % INPUTS;
                    let start = Instant::now();
                    let bits = run(session, which);
                    let took = start.elapsed();
                    wrong.fetch_add(u64::from(bits != want[which as usize]), Relaxed);
                    runs.fetch_add(1, Relaxed);
                    latencies.lock().unwrap_or_else(|e| e.into_inner()).add(took);
                    if !pause.is_zero() {
                        std::thread::sleep(pause);
                    }
                }
            });
        }
        println!(
            "{:>8} {:>12} {:>7} {:>14} {:>12} {:>11} {:>11} {:>11}",
            "minutes", "runs", "wrong", "resident KiB", "heap bytes", "p50 us", "p99 us", "p99.9 us"
        );
        let start = Instant::now();
        for tenth in 1..=10u32 {
            std::thread::sleep((time * tenth / 10).saturating_sub(start.elapsed()));
            let l = std::mem::replace(&mut *latencies.lock().unwrap_or_else(|e| e.into_inner()), Latencies::new());
            let resident = resident().inspect_err(|_| stop.store(true, Relaxed))?;
            let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|q| l.quantile(q));
            println!(
                "{:>8.1} {:>12} {:>7} {:>14} {:>12} {p50:>11.0} {p99:>11.0} {p999:>11.0}",
                start.elapsed().as_secs_f64() / 60.0,
                runs.load(Relaxed),
                wrong.load(Relaxed),
                resident / 1024,
                sepal_heap::bytes()
            );
            lines.push(Line { resident, heap: sepal_heap::bytes(), p50 });
        }
        stop.store(true, Relaxed);
        Ok(())
    })?;
    let [first, .., last] = lines.as_slice() else { return Err("no tenths".into()) };
    let (text, steady) = first.against(last, idle);
    println!("{} wrong, {text}", wrong.load(Relaxed));
    Ok(wrong.load(Relaxed) == 0 && steady)
}

/// What is said of a tenth of the time, and judged after the last.
struct Line {
    resident: u64,
    heap: usize,
    p50: f64,
}

impl Line {
    /// How the last tenth is against this, the first, and whether nothing grew, not even the median where the machine is idle. Pages are
    /// first touched in the first tenth, by printing as by running, and a few of them may be later; the heap is counted exactly.
    fn against(&self, last: &Line, idle: bool) -> (String, bool) {
        let pages = last.resident.saturating_sub(self.resident);
        let heap = last.heap.saturating_sub(self.heap);
        let text = format!(
            "{} KiB more resident and {heap} bytes more on the heap than after the first tenth; p50 of the last tenth is {:.2} of that of the first",
            pages / 1024,
            last.p50 / self.p50
        );
        (text, pages <= 256 << 10 && heap == 0 && !(idle && last.p50 > 1.2 * self.p50))
    }
}

fn main() -> ExitCode {
    let (mut minutes, mut sessions, mut pause, mut idle, mut path) = (1.0, 8, 0.0, false, None);
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut number = || args.next().and_then(|v| v.parse::<f64>().ok()).filter(|v| *v > 0.0 && v.is_finite());
        match arg.as_str() {
            "--minutes" => minutes = number().unwrap_or(1.0),
            "--pause" => pause = number().unwrap_or(0.0),
            "--sessions" => sessions = number().unwrap_or(8.0) as usize,
            "--idle" => idle = true,
            _ => path = Some(arg),
        }
    }
    let result = || -> Result<bool> {
        let bytes = match &path {
            Some(path) => AlignedBytes::read(path)?,
            None => {
                let options = ConvertOptions { no_verify: true, ..ConvertOptions::default() };
                let source = sepal_fixtures::MINI_XCEPTION_KERAS;
                let converted = convert_bytes("mini_xception.keras", source, &options, &mut ()).map_err(|e| e.to_string())?;
                AlignedBytes::copy(converted.bytes()).ok_or("no memory")?
            }
        };
        let model = Model::from_owned(bytes)?;
        println!(
            "{} on {}: {sessions} sessions, {minutes} minutes",
            path.as_deref().unwrap_or("mini_xception"),
            model.isa().name()
        );
        soak(&model, sessions.clamp(1, 64), Duration::from_secs_f64(minutes * 60.0), Duration::from_secs_f64(pause / 1000.0), idle)
    };
    match result() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(e) => {
            eprintln!("soak: {e}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_grows_is_seen() {
        let line = |resident, heap, p50| Line { resident, heap, p50 };
        let first = line(1 << 20, 1000, 50.0);
        let steady = |last: Line| first.against(&last, false).1;
        assert!(steady(line(1 << 20, 1000, 50.0)));
        assert!(steady(line(0, 0, 50.0)));
        assert!(!steady(line(1 << 20, 1001, 50.0)));
        assert!(!steady(line(2 << 20, 1000, 50.0)));
        assert!(steady(line(1 << 20, 1000, 70.0)));
        assert!(first.against(&line(1 << 20, 1000, 60.0), true).1);
        assert!(!first.against(&line(1 << 20, 1000, 70.0), true).1);
        assert!(first.against(&line(1 << 20, 1000, 60.0), true).0.ends_with("1.20 of that of the first"));
    }
}
