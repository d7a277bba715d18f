//! What `llvm-mca` expects of NEON's inner loops on some CPUs, against the figures on record in `benches/mca.txt`:
//! `cargo run -p sepal-benches --bin mca -- BINARY [--write]`; exit code 1 when one became slower or is missing. `--write` records.
//!
//! The expectation is of a round without cache misses. For a depthwise convolution there are loops for pixels whose window lies inside the
//! image, and loops that may pass over what lies outside, of which it is the way with the most multiply-adds. It does not say how fast a
//! loop is, but it is the same on every host, and a spill, a longer chain or a lost pairing of loads shows in it.

use sepal_benches::listing::{Arch, Instruction, arch, disassemble, inner_loops};
use std::cmp::Reverse;
use std::error::Error;
use std::fmt::Write;
use std::io::Write as _;
use std::process::{Command, ExitCode, Stdio};

/// In order; out of order; wide. What is known of them depends on the version.
const CPUS: [&str; 3] = ["cortex-a55", "neoverse-n1", "cortex-x2"];
const TOOL: &str = "llvm-mca-19";
const ROUNDS: usize = 100;
const RECORD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/mca.txt");
const HEAD: &str = "\
# Cycles and block reciprocal throughput of one round, instructions a cycle: at most, as `llvm-mca-19` sees it.
# Written by: cargo run -p sepal-benches --bin mca -- target/aarch64/aarch64-unknown-linux-gnu/release/hashes --write
";

/// A loop by its shape.
struct Shape {
    name: &'static str,
    /// Multiply-adds of a round.
    fma: usize,
    /// Whether they take a factor from a lane.
    by_lane: bool,
    /// Whether it compares: the ReLU in front.
    relu: bool,
    /// Whether it may pass over some of it.
    skips: bool,
}

/// 6 pixels x 16 channels, four steps a round; 7 pixels of 4 channels, 9 taps.
const SHAPES: [Shape; 5] = [
    Shape { name: "gemm-6x16", fma: 6 * 4 * 4, by_lane: true, relu: false, skips: false },
    Shape { name: "depthwise-3x3", fma: 7 * 9, by_lane: false, relu: false, skips: false },
    Shape { name: "depthwise-3x3-after-relu", fma: 7 * 9, by_lane: false, relu: true, skips: false },
    Shape { name: "depthwise-3x3-edge", fma: 7 * 9, by_lane: false, relu: false, skips: true },
    Shape { name: "depthwise-3x3-edge-relu", fma: 7 * 9, by_lane: false, relu: true, skips: true },
];

impl Shape {
    fn fits(&self, way: &[&Instruction], skips: bool) -> bool {
        let any = |what: fn(&Instruction) -> bool| way.iter().any(|i| what(i));
        way.iter().filter(|i| i.multiplies(Arch::Arm)).count() == self.fma
            && any(|i| i.broadcasts(Arch::Arm)) == self.by_lane
            && any(|i| matches!(i.name(), "fcmlt" | "fcmgt" | "fmax")) == self.relu
            && !any(|i| i.rounds(Arch::Arm))
            && skips == self.skips
    }
}

/// The way through a loop with the most multiply-adds; of several the shortest.
fn busiest(body: &[Instruction]) -> Vec<&Instruction> {
    // Of the rest of the way from each instruction: multiply-adds, length, and where it goes on.
    let mut rest: Vec<Option<(usize, Reverse<usize>, usize)>> = vec![None; body.len() + 1];
    rest[body.len()] = Some((0, Reverse(0), 0));
    for (at, i) in body.iter().enumerate().rev() {
        let next = (at + 1 == body.len() || i.name() != "b").then_some(at + 1);
        let jump = i.target(Arch::Arm).and_then(|to| body.binary_search_by_key(&to, |i| i.address).ok()).filter(|&to| to > at);
        let best = next.into_iter().chain(jump).filter_map(|to| rest[to].map(|(fma, length, _)| (fma, length, to))).max();
        let own = usize::from(i.multiplies(Arch::Arm));
        rest[at] = best.map(|(fma, Reverse(length), to)| (fma + own, Reverse(length + 1), to));
    }
    let mut way = Vec::new();
    let mut at = 0;
    while let (Some(i), Some((_, _, to))) = (body.get(at), rest[at]) {
        way.push(i);
        at = to;
    }
    way
}

/// A line for an assembler; where it jumps to does not matter.
fn assembler(i: &Instruction) -> String {
    let operands = i.operands();
    if i.target(Arch::Arm).is_none() {
        return format!("{} {operands}\n", i.name());
    }
    let operands = operands.split(" <").next().unwrap_or("");
    let registers = operands.rfind([',', ' ']).map_or("", |at| &operands[..=at]);
    format!("{} {registers}elsewhere\n", i.name())
}

/// What is expected of a loop on a CPU.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Figures {
    cycles: f64,
    throughput: f64,
    ipc: f64,
}

impl Figures {
    /// From what the tool prints.
    fn parse(report: &str) -> Option<Figures> {
        let value = |name: &str| report.lines().find_map(|l| l.strip_prefix(name))?.trim().parse::<f64>().ok();
        let cycles = value("Total Cycles:")? / ROUNDS as f64;
        Some(Figures { cycles, throughput: value("Block RThroughput:")?, ipc: value("IPC:")? })
    }

    /// The worse of each.
    fn worse(self, other: Figures) -> Figures {
        let (cycles, throughput) = (self.cycles.max(other.cycles), self.throughput.max(other.throughput));
        Figures { cycles, throughput, ipc: self.ipc.min(other.ipc) }
    }

    /// As [`line()`] rounds them.
    fn rounded(self) -> [i64; 2] {
        [self.cycles, self.throughput].map(|x| (x * 10.0).round() as i64)
    }
}

fn line(name: &str, cpu: &str, f: &Figures) -> String {
    format!("{name:24} {cpu:11} {:6.1} cycles {:6.1} throughput {:4.2} ipc", f.cycles, f.throughput, f.ipc)
}

fn expect(cpu: &str, text: &str) -> Result<Figures, Box<dyn Error>> {
    let (cpu, rounds) = (format!("-mcpu={cpu}"), format!("-iterations={ROUNDS}"));
    let arguments = ["-mtriple=aarch64-linux-gnu", &cpu, &rounds, "-instruction-info=0", "-resource-pressure=0"];
    let mut command = Command::new(TOOL);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut process = command.spawn().map_err(|e| format!("{TOOL}: {e}"))?;
    // Small enough for a pipe: the tool reads everything before it writes.
    process.stdin.take().ok_or("no input")?.write_all(text.as_bytes())?;
    let output = process.wait_with_output()?;
    let report = String::from_utf8_lossy(&output.stdout);
    Figures::parse(&report).filter(|_| output.status.success()).ok_or_else(|| format!("{TOOL} failed: {report}").into())
}

/// The worst figures of the loops of each shape, on each CPU.
fn measure(path: &str) -> Result<Vec<(&'static str, &'static str, Figures)>, Box<dyn Error>> {
    if arch(path)? != Arch::Arm {
        return Err("no binary for aarch64".into());
    }
    let mut loops: Vec<Vec<String>> = vec![Vec::new(); SHAPES.len()];
    disassemble(path, |function| {
        for body in inner_loops(Arch::Arm, function) {
            let way = busiest(body);
            if let Some(shape) = SHAPES.iter().position(|s| s.fits(&way, way.len() < body.len())) {
                loops[shape].push(way.into_iter().map(assembler).collect());
            }
        }
    })?;
    let mut all = Vec::new();
    for (shape, loops) in SHAPES.iter().zip(&loops) {
        for cpu in CPUS {
            let mut worst: Option<Figures> = None;
            for text in loops {
                let figures = expect(cpu, text)?;
                worst = Some(worst.map_or(figures, |w| w.worse(figures)));
            }
            all.push((shape.name, cpu, worst.ok_or_else(|| format!("{}: there is no such loop", shape.name))?));
        }
    }
    Ok(all)
}

/// What is on record for a loop on a CPU.
fn recorded(record: &str, name: &str, cpu: &str) -> Option<Figures> {
    record.lines().find_map(|line| match line.split_whitespace().collect::<Vec<_>>()[..] {
        [n, c, cycles, "cycles", throughput, "throughput", ipc, "ipc"] if n == name && c == cpu => {
            Some(Figures { cycles: cycles.parse().ok()?, throughput: throughput.parse().ok()?, ipc: ipc.parse().ok()? })
        }
        _ => None,
    })
}

/// Prints the figures beside those on record; whether all are as good.
fn compare(all: &[(&str, &str, Figures)], record: &str) -> bool {
    let mut good = true;
    for (name, cpu, now) in all {
        let verdict = match recorded(record, name, cpu) {
            None => "not on record",
            Some(then) if now.rounded().iter().zip(then.rounded()).any(|(&now, then)| now > then) => "WORSE than on record",
            Some(then) if now.rounded() != then.rounded() => "better: record it with --write",
            Some(_) => "as on record",
        };
        good &= !matches!(verdict, "not on record" | "WORSE than on record");
        println!("{}: {verdict}", line(name, cpu, now));
    }
    good
}

fn run(path: &str, write: bool) -> Result<bool, Box<dyn Error>> {
    let all = measure(path)?;
    if write {
        let mut text = HEAD.to_string();
        all.iter().try_for_each(|(name, cpu, figures)| writeln!(text, "{}", line(name, cpu, figures)))?;
        std::fs::write(RECORD, text)?;
    }
    Ok(compare(&all, &std::fs::read_to_string(RECORD)?))
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (path, write) = match &arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [path] => (path.to_string(), false),
        [path, "--write"] => (path.to_string(), true),
        _ => {
            eprintln!("usage: mca BINARY [--write]");
            return ExitCode::FAILURE;
        }
    };
    match run(&path, write) {
        Ok(good) => ExitCode::from(u8::from(!good)),
        Err(e) => {
            eprintln!("{path}: {e}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sepal_benches::listing::functions;

    /// A loop that skips one of its multiply-adds, or both, or jumps over what is for skipping only.
    const LOOP: &str = "
0000000000001000 <enter>:
  1000:\tldr\tq0, [x1, x2]
  1004:\ttbz\tw3, #0, 1014 <enter+0x14>
  1008:\tfmla\tv1.4s, v0.4s, v2.4s
  100c:\tcbz\tw4, 1018 <enter+0x18>
  1010:\tb\t101c <enter+0x1c>
  1014:\tmov\tv1.16b, v0.16b
  1018:\tfmla\tv1.4s, v0.4s, v3.4s
  101c:\tcmp\tx2, x5
  1020:\tb.ne\t1000 <enter>  // b.any
";

    #[test]
    fn takes_the_way_with_the_most_multiply_adds() {
        let mut ways = Vec::new();
        functions(LOOP.lines().map(|l| Ok(l.to_string())), |function| {
            for body in inner_loops(Arch::Arm, function) {
                ways.push(busiest(body).into_iter().map(assembler).collect::<String>());
            }
        })
        .unwrap();
        let want = "ldr q0, [x1, x2]\ntbz w3, #0, elsewhere\nfmla v1.4s, v0.4s, v2.4s\ncbz w4, elsewhere\n\
            fmla v1.4s, v0.4s, v3.4s\ncmp x2, x5\nb.ne elsewhere\n";
        assert_eq!(ways, [want]);
    }

    #[test]
    fn reads_the_report() {
        let report = "Iterations:        100\nTotal Cycles:      4813\n\nIPC:               2.39\nBlock RThroughput: 48.0\n";
        assert_eq!(Figures::parse(report), Some(Figures { cycles: 48.13, throughput: 48.0, ipc: 2.39 }));
        assert_eq!(Figures::parse("error: invalid operand"), None);
    }

    #[test]
    fn worse_is_worse_than_the_record_beyond_its_digits() {
        let figures = |cycles, throughput| Figures { cycles, throughput, ipc: 1.0 };
        let record = format!("{HEAD}{}\n", line("a", "b", &figures(48.13, 48.0)));
        for (cycles, throughput, good) in [(48.14, 48.0, true), (48.2, 48.0, false), (48.0, 48.5, false), (40.0, 40.0, true)] {
            assert_eq!(compare(&[("a", "b", figures(cycles, throughput))], &record), good);
        }
        assert!(!compare(&[("a", "c", figures(1.0, 1.0))], &record));
    }
}
