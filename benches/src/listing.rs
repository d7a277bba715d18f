//! Machine code as `objdump` lists it: instructions, innermost loops, and what matters of them to a kernel.

use std::error::Error;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

/// Whose instructions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Arch {
    /// x86-64.
    X86,
    /// aarch64.
    Arm,
}

/// A line of a listing.
#[derive(Clone, Debug, PartialEq)]
pub struct Instruction {
    /// Where it is.
    pub address: u64,
    /// Name and operands, and what `objdump` has to say of them.
    pub text: String,
}

impl Instruction {
    /// A line of a listing, unless it is a heading.
    fn parse(line: &str) -> Option<Instruction> {
        let (address, text) = line.trim_start().split_once(":\t")?;
        let address = u64::from_str_radix(address, 16).ok()?;
        Some(Instruction { address, text: text.trim().replace('\t', " ") })
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        self.text.split(' ').next().unwrap_or("")
    }

    /// What it works on.
    pub fn operands(&self) -> &str {
        let operands = self.text.split_once(' ').map_or("", |(_, o)| o.trim_start());
        // What follows is objdump's explanation.
        operands.split(" // ").next().unwrap_or("").split(" # ").next().unwrap_or("")
    }

    /// Where it may jump to, unless that depends.
    pub fn target(&self, arch: Arch) -> Option<u64> {
        let name = self.name();
        let jumps = match arch {
            Arch::X86 => name.starts_with('j'),
            Arch::Arm => matches!(name, "b" | "cbz" | "cbnz" | "tbz" | "tbnz") || name.starts_with("b."),
        };
        // `5e0290 <name+0x444>`, on aarch64 after a register.
        let address = self.operands().split(" <").next()?.rsplit([' ', ',']).next()?;
        if jumps { u64::from_str_radix(address, 16).ok() } else { None }
    }

    /// Whether it calls a function.
    pub fn calls(&self, arch: Arch) -> bool {
        match arch {
            Arch::X86 => self.name().starts_with("call"),
            Arch::Arm => matches!(self.name(), "bl" | "blr"),
        }
    }

    /// Whether it multiplies and adds whole vectors.
    pub fn multiplies(&self, arch: Arch) -> bool {
        match arch {
            Arch::X86 => self.name().starts_with("vfmadd") && self.name().ends_with("ps"),
            Arch::Arm => self.name() == "fmla" && self.operands().contains(".4s"),
        }
    }

    /// Whether it brings one float, not a constant nor one from the stack, into all lanes.
    pub fn broadcasts(&self, arch: Arch) -> bool {
        let o = self.operands();
        match arch {
            Arch::X86 => {
                let memory = o.contains('(') && !["(%rip", "(%rsp", "(%rbp"].iter().any(|base| o.contains(base));
                memory && (self.name() == "vbroadcastss" || o.contains("{1to"))
            }
            Arch::Arm => (self.multiplies(arch) && o.contains(".s[")) || self.name() == "ld1r",
        }
    }

    /// Whether it rounds to whole numbers.
    pub fn rounds(&self, arch: Arch) -> bool {
        match arch {
            Arch::X86 => self.name() == "vrndscaleps" || self.name() == "vroundps",
            Arch::Arm => self.name() == "frintn",
        }
    }

    /// Whether it moves a vector, or part of one, to or from the stack.
    pub fn spills(&self, arch: Arch, frame_pointer: bool) -> bool {
        let o = self.operands();
        match arch {
            Arch::X86 => o.contains("mm") && (o.contains("(%rsp") || frame_pointer && o.contains("(%rbp")),
            Arch::Arm => {
                let vector = o.starts_with(['q', 'd', 's', 'v', '{']);
                let moves = self.name().starts_with("ld") || self.name().starts_with("st");
                moves && vector && (o.contains("[sp") || frame_pointer && o.contains("[x29"))
            }
        }
    }

    /// Whether a function that has it reaches its stack by the frame pointer, which is a register like others elsewhere.
    pub fn makes_frame(&self, arch: Arch) -> bool {
        match arch {
            Arch::X86 => self.name() == "mov" && self.operands() == "%rsp,%rbp",
            Arch::Arm => matches!(self.name(), "mov" | "add") && self.operands().starts_with("x29, sp"),
        }
    }
}

/// The innermost loops of a function.
pub fn inner_loops(arch: Arch, function: &[Instruction]) -> Vec<&[Instruction]> {
    let place = |address: u64| function.binary_search_by_key(&address, |i| i.address).ok();
    let back = |(end, i): (usize, &Instruction)| Some((place(i.target(arch)?).filter(|&start| start <= end)?, end));
    let loops: Vec<(usize, usize)> = function.iter().enumerate().filter_map(back).collect();
    let holds = |a: (usize, usize), b: (usize, usize)| a != b && a.0 <= b.0 && b.1 <= a.1;
    let innermost = loops.iter().filter(|&&l| !loops.iter().any(|&other| holds(l, other)));
    innermost.map(|&(start, end)| &function[start..=end]).collect()
}

/// Calls `f` with every function of a listing.
pub fn functions(lines: impl Iterator<Item = std::io::Result<String>>, mut f: impl FnMut(&[Instruction])) -> std::io::Result<()> {
    let mut function = Vec::new();
    for line in lines {
        let line = line?;
        match Instruction::parse(&line) {
            Some(instruction) => function.push(instruction),
            None if line.ends_with(">:") => f(&std::mem::take(&mut function)),
            None => {}
        }
    }
    f(&function);
    Ok(())
}

/// The architecture in an ELF header.
pub fn arch(path: &str) -> Result<Arch, Box<dyn Error>> {
    let mut header = [0; 20];
    std::fs::File::open(path)?.read_exact(&mut header)?;
    match (&header[..4], header[18]) {
        (b"\x7fELF", 62) => Ok(Arch::X86),
        (b"\x7fELF", 183) => Ok(Arch::Arm),
        _ => Err("no ELF file of x86-64 or aarch64".into()),
    }
}

/// Calls `f` with every function of a binary.
pub fn disassemble(path: &str, f: impl FnMut(&[Instruction])) -> Result<(), Box<dyn Error>> {
    let arch = arch(path)?;
    let tool = match arch {
        _ if cfg!(target_arch = "x86_64") == (arch == Arch::X86) => "objdump",
        Arch::X86 => "x86_64-linux-gnu-objdump",
        Arch::Arm => "aarch64-linux-gnu-objdump",
    };
    let arguments = ["--disassemble", "--no-show-raw-insn", path];
    let mut process = Command::new(tool).args(arguments).stdout(Stdio::piped()).spawn().map_err(|e| format!("{tool}: {e}"))?;
    functions(BufReader::new(process.stdout.take().ok_or("no output")?).lines(), f)?;
    if !process.wait()?.success() {
        return Err(format!("{tool} failed").into());
    }
    Ok(())
}
