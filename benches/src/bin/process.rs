//! What a process pays that holds a model, besides the time of its inferences: `cargo run --release -p sepal-benches --bin process
//! -- MODEL.sepal`. Linux only, since it reads `/proc`; the machine should be idle otherwise.
//!
//! 1. Memory: what is resident more than before the model was opened, against the file, the arena and 1 MB.
//! 2. Time of the processor while a session with two threads waits for work.
//! 3. Two threads while another process keeps one core busy: static halves explain up to the time of one thread.

use sepal::{Model, Options, Session};
use std::error::Error;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Bytes of this process that are in memory.
fn resident() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse::<u64>()? * 1024)
}

/// Time that all threads of this process have run for.
fn processor_time() -> Result<Duration> {
    let mut total = 0;
    for task in std::fs::read_dir("/proc/self/task")? {
        let text = std::fs::read_to_string(task?.path().join("schedstat"))?;
        total += text.split(' ').next().ok_or("an empty schedstat")?.parse::<u64>()?;
    }
    Ok(Duration::from_nanos(total))
}

/// Median of so many inferences, after some that do not count.
fn median(session: &mut Session<'_>, runs: usize) -> Duration {
    (0..3).for_each(|_| session.run());
    let mut times: Vec<Duration> = (0..runs)
        .map(|_| {
            let start = Instant::now();
            session.run();
            start.elapsed()
        })
        .collect();
    times.sort();
    times[runs / 2]
}

/// A process that does nothing else than run, on the last core.
struct Busy(Child);

impl Busy {
    fn start() -> Result<Self> {
        let core = std::thread::available_parallelism()?.get() - 1;
        let arguments = ["-c", &core.to_string(), "sh", "-c", "while :; do :; done"];
        Ok(Busy(Command::new("taskset").args(arguments).stdin(Stdio::null()).spawn()?))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let _ = self.0.kill().and_then(|()| self.0.wait());
    }
}

fn measure(path: &str) -> Result<()> {
    let mb = |bytes: u64| bytes as f64 / 1e6;
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    let before = resident()?;
    let model = Model::open(path)?;
    let mut session = Session::new(&model, Options::default())?;
    (0..3).for_each(|_| session.run());
    let after = resident()?;
    let (file, arena) = (std::fs::metadata(path)?.len(), model.arena_bytes(1) as u64);
    println!(
        "resident        {:.2} MB more, of {:.2} MB: file {:.2}, arena {:.2}, 1",
        mb(after - before),
        mb(file + arena) + 1.0,
        mb(file),
        mb(arena)
    );
    let runs = 40;
    let alone = median(&mut session, runs);
    drop(session);

    let mut session = Session::new(&model, Options { threads: 2 })?;
    let two = median(&mut session, runs);
    let (start, used) = (Instant::now(), processor_time()?);
    std::thread::sleep(Duration::from_secs(5));
    let used = processor_time()? - used;
    println!("idle            {:.4} % of a core", 100.0 * used.as_secs_f64() / start.elapsed().as_secs_f64());
    println!("one thread      {:.3} ms", ms(alone));
    println!("two threads     {:.3} ms, {:.2}x", ms(two), ms(alone) / ms(two));
    let busy = Busy::start()?;
    std::thread::sleep(Duration::from_millis(200));
    let beside = median(&mut session, runs);
    drop(busy);
    println!("beside a busy core, two threads {:.3} ms, {:.2} of one thread alone", ms(beside), ms(beside) / ms(alone));
    Ok(())
}

fn main() -> ExitCode {
    let paths: Vec<String> = std::env::args().skip(1).collect();
    if paths.is_empty() {
        eprintln!("usage: process MODEL.sepal...");
        return ExitCode::from(2);
    }
    for path in &paths {
        println!("{path}");
        if let Err(e) = measure(path) {
            eprintln!("{path}: {e}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
