//! Looks at the inner loops of the GEMM as compiled: `cargo run -p sepal-benches --bin gate -- BINARY...`; exit code 1 when one
//! calls a function or keeps a vector on the stack, or when the largest tile of an instruction set is missing.
//!
//! A tile's accumulators fill the registers, so that one more value in flight costs a store and a load in every step, and an
//! intrinsic that is not inlined costs far more. Neither changes a result, and neither shows in tests.
//!
//! It reads what `objdump` prints, and knows such a loop by its shape in any binary: innermost, with at least [`MIN_FMA`]
//! multiply-adds of whole vectors, some of them by one float of A. Depthwise convolutions have no such factor, and activations
//! take theirs from constants; but NEON may keep four of these in the lanes of a register, and then it is the rounding to whole
//! numbers, which no tile has, that tells an exponential.

use sepal_benches::listing::{Arch, Instruction, arch, disassemble, inner_loops};
use std::error::Error;
use std::process::ExitCode;

/// Multiply-adds of a loop that is a tile's: those of AVX2's 6 x 16.
const MIN_FMA: usize = 12;

/// An instruction set, with the multiply-adds in one round of its largest tile.
struct Set {
    name: &'static str,
    arch: Arch,
    largest: usize,
}

/// 6 pixels x 16 channels in 2 vectors; 6 x 64 in 4; 6 x 16 in 4, four steps a round.
const SETS: [Set; 3] = [
    Set { name: "avx2", arch: Arch::X86, largest: 6 * 2 },
    Set { name: "avx512", arch: Arch::X86, largest: 6 * 4 },
    Set { name: "neon", arch: Arch::Arm, largest: 6 * 4 * 4 },
];

/// The inner loop of a tile.
#[derive(Debug, PartialEq)]
struct Loop {
    set: &'static str,
    address: u64,
    instructions: usize,
    fma: usize,
    /// Instructions that must not be there.
    bad: Vec<String>,
}

/// The tiles' loops of one function.
fn tiles(arch: Arch, function: &[Instruction]) -> Vec<Loop> {
    let frame_pointer = function.iter().any(|i| i.makes_frame(arch));
    let mut found = Vec::new();
    for body in inner_loops(arch, function) {
        let fma = body.iter().filter(|i| i.multiplies(arch)).count();
        if fma < MIN_FMA || !body.iter().any(|i| i.broadcasts(arch)) || body.iter().any(|i| i.rounds(arch)) {
            continue;
        }
        let wide = body.iter().any(|i| i.multiplies(arch) && i.operands().contains("%zmm"));
        let set = match (arch, wide) {
            (Arch::Arm, _) => "neon",
            (Arch::X86, true) => "avx512",
            (Arch::X86, false) => "avx2",
        };
        let bad = body.iter().filter(|i| i.calls(arch) || i.spills(arch, frame_pointer));
        let bad = bad.map(|i| format!("{:x}: {}", i.address, i.text)).collect();
        found.push(Loop { set, address: body[0].address, instructions: body.len(), fma, bad });
    }
    found
}

/// What is wrong with the loops of one binary.
fn verdict(arch: Arch, loops: &[Loop]) -> Vec<String> {
    let mut wrong = Vec::new();
    for l in loops.iter().filter(|l| !l.bad.is_empty()) {
        wrong.push(format!("{}: the loop at {:x} with {} fma has\n    {}", l.set, l.address, l.fma, l.bad.join("\n    ")));
    }
    for set in SETS.iter().filter(|s| s.arch == arch) {
        // A compiler may unroll.
        if !loops.iter().any(|l| l.set == set.name && l.fma.is_multiple_of(set.largest)) {
            wrong.push(format!("{}: no loop of {} fma: the largest tile is missing, or not inlined", set.name, set.largest));
        }
    }
    wrong
}

fn check(path: &str) -> Result<Vec<String>, Box<dyn Error>> {
    let arch = arch(path)?;
    let mut loops = Vec::new();
    disassemble(path, |function| loops.extend(tiles(arch, function)))?;
    loops.sort_by_key(|l| (l.set, l.fma, l.instructions, l.address));
    for Loop { set, address, instructions, fma, bad } in &loops {
        println!("{set:>7}: {fma:3} fma of {instructions:3} instructions at {address:x}, {} calls and spills", bad.len());
    }
    Ok(verdict(arch, &loops))
}

fn main() -> ExitCode {
    let paths: Vec<String> = std::env::args().skip(1).collect();
    let mut failed = paths.is_empty();
    if failed {
        eprintln!("usage: gate BINARY...");
    }
    for path in &paths {
        println!("{path}");
        match check(path) {
            Ok(wrong) => {
                failed |= !wrong.is_empty();
                wrong.iter().for_each(|w| eprintln!("{path}: {w}"));
            }
            Err(e) => {
                failed = true;
                eprintln!("{path}: {e}");
            }
        }
    }
    ExitCode::from(u8::from(failed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use sepal_benches::listing::functions;

    /// AVX2's largest tile as compiled, after the jump into its function.
    const AVX2: &str = "
0000000000545690 <_ZN13sepal_kernels4simd4avx25enter17h0123456789abcdefE>:
  545690:	jmp    5456b0 <_ZN13sepal_kernels4simd4avx25enter17h0123456789abcdefE+0x20>
  5456b0:	cmp    %r11,%rsi
  5456b3:	je     5470ce <_ZN13sepal_kernels4simd4avx25enter17h0123456789abcdefE+0x1a3e>
  5456b9:	vmovups -0x20(%r10),%ymm0
  5456bf:	vmovups (%r10),%ymm1
  5456c4:	vbroadcastss (%rdi,%r11,4),%ymm2
  5456ca:	vfmadd231ps %ymm0,%ymm2,%ymm14
  5456cf:	vfmadd231ps %ymm2,%ymm1,%ymm13
  5456d4:	vbroadcastss (%r8,%r11,4),%ymm2
  5456da:	vfmadd231ps %ymm0,%ymm2,%ymm12
  5456df:	vfmadd231ps %ymm2,%ymm1,%ymm11
  5456e4:	vbroadcastss (%rdx,%r11,4),%ymm2
  5456ea:	vfmadd231ps %ymm0,%ymm2,%ymm10
  5456ef:	vfmadd231ps %ymm2,%ymm1,%ymm9
  5456f4:	vbroadcastss (%rcx,%r11,4),%ymm2
  5456fa:	vfmadd231ps %ymm0,%ymm2,%ymm8
  5456ff:	vfmadd231ps %ymm2,%ymm1,%ymm7
  545704:	vbroadcastss (%rax,%r11,4),%ymm2
  54570a:	vfmadd231ps %ymm0,%ymm2,%ymm6
  54570f:	vfmadd231ps %ymm2,%ymm1,%ymm5
  545714:	vbroadcastss (%r9,%r11,4),%ymm2
  54571a:	inc    %r11
  54571d:	vfmadd231ps %ymm0,%ymm2,%ymm4
  545722:	vfmadd231ps %ymm1,%ymm2,%ymm3
  545727:	add    $0x40,%r10
  54572b:	cmp    %r11,%rsi
  54572e:	jne    5456b0 <_ZN13sepal_kernels4simd4avx25enter17h0123456789abcdefE+0x20>
  545730:	vmovaps %ymm3,0x40(%rsp)
  545736:	jmp    545690 <_ZN13sepal_kernels4simd4avx25enter17h0123456789abcdefE>
";

    fn find(arch: Arch, text: &str) -> Vec<Loop> {
        let mut found = Vec::new();
        functions(text.lines().map(|l| Ok(l.to_string())), |function| found.extend(tiles(arch, function))).unwrap();
        found
    }

    /// [`AVX2`] with another instruction in place of one.
    fn avx2_with(old: &str, new: &str) -> Vec<Loop> {
        assert_eq!(AVX2.matches(old).count(), 1, "{old}");
        find(Arch::X86, &AVX2.replace(old, new))
    }

    /// NEON's largest tile, with another instruction between its multiply-adds, after `start`.
    fn neon(start: &str, extra: &str) -> Vec<Loop> {
        let mut lines = vec![start.to_string(), "ldp\tq14, q15, [x15, #-128]".into(), "ldr\tq13, [x13, x17]".into()];
        lines.extend((0..96).map(|i| format!("fmla\tv{}.4s, v14.4s, v13.s[{}]", i / 4, i % 4)));
        lines.insert(40, extra.into());
        lines.push("subs\tx9, x9, #0x1".into());
        lines.push("b.ne\t1004 <_ZN13sepal_kernels4simd4neon5enter17h0123456789abcdefE+0x4>  // b.any".into());
        let lines = lines.iter().enumerate().map(|(i, l)| format!("    {:x}:\t{l}\n", 0x1000 + 4 * i));
        find(Arch::Arm, &format!("1000 <enter>:\n{}", lines.collect::<String>()))
    }

    #[test]
    fn finds_the_inner_loop_and_nothing_wrong() {
        let found = find(Arch::X86, AVX2);
        assert_eq!(found, [Loop { set: "avx2", address: 0x5456b0, instructions: 26, fma: 12, bad: vec![] }]);
        let found = neon("nop", "add\tx15, x15, #0x100");
        assert_eq!(found, [Loop { set: "neon", address: 0x1004, instructions: 101, fma: 96, bad: vec![] }]);
        assert!(verdict(Arch::Arm, &found).is_empty());
    }

    #[test]
    fn sees_a_spill() {
        for bad in ["vmovaps %ymm3,0x40(%rsp)", "vfmadd231ps 0x40(%rsp),%ymm2,%ymm3", "vbroadcastss 0x8(%rsp),%ymm2"] {
            let found = avx2_with("inc    %r11", bad);
            assert_eq!(found[0].bad, [format!("54571a: {bad}")]);
            assert!(verdict(Arch::X86, &found)[0].contains(bad));
        }
        for bad in ["str\tq3, [sp, #32]", "ldr\tq3, [sp]", "ldp\tq3, q4, [sp, #64]", "stur\ts3, [sp, #4]", "ld1r\t{v3.4s}, [sp]"] {
            let found = neon("nop", bad);
            assert_eq!(found[0].bad, [format!("10a0: {}", bad.replace('\t', " "))]);
            assert_eq!(verdict(Arch::Arm, &found).len(), 1);
        }
    }

    #[test]
    fn a_spilled_address_is_not_a_vector() {
        assert!(avx2_with("inc    %r11", "mov    0x40(%rsp),%r11")[0].bad.is_empty());
        assert!(neon("nop", "ldr\tx3, [sp, #32]")[0].bad.is_empty());
    }

    #[test]
    fn the_frame_pointer_counts_where_it_is_one() {
        let store = "vmovaps %ymm3,-0x40(%rbp)";
        assert!(avx2_with("inc    %r11", store)[0].bad.is_empty());
        let framed = AVX2.replace("inc    %r11", store).replacen("jmp    5456b0", "mov    %rsp,%rbp", 1);
        let framed = framed.replace("%rsp,%rbp <_ZN13sepal_kernels4simd4avx25enter17h0123456789abcdefE+0x20>", "%rsp,%rbp");
        assert_eq!(find(Arch::X86, &framed)[0].bad.len(), 1);
        assert!(neon("nop", "ldr\tq3, [x29, #32]")[0].bad.is_empty());
        assert_eq!(neon("add\tx29, sp, #0x10", "ldr\tq3, [x29, #32]")[0].bad.len(), 1);
    }

    #[test]
    fn sees_a_call() {
        assert_eq!(avx2_with("inc    %r11", "call   5a7520 <_mm256_fmadd_ps>")[0].bad.len(), 1);
        assert_eq!(neon("nop", "bl\t5c6098 <vfmaq_laneq_f32>")[0].bad.len(), 1);
    }

    #[test]
    fn misses_the_largest_tile() {
        // Where intrinsics are calls, there is no loop with multiply-adds.
        let found = find(Arch::X86, &AVX2.replace("vfmadd231ps", "call   5a7520 #"));
        assert!(found.is_empty());
        assert_eq!(verdict(Arch::X86, &found).len(), 2);
        // AVX2's is there, AVX-512's is not.
        let wrong = verdict(Arch::X86, &find(Arch::X86, AVX2));
        assert_eq!(wrong.len(), 1);
        assert!(wrong[0].starts_with("avx512"));
    }

    #[test]
    fn other_loops_are_not_tiles() {
        // A depthwise convolution: whole vectors of weights.
        assert!(find(Arch::X86, &AVX2.replace("vbroadcastss", "vmovups")).is_empty());
        // An activation: its factors are constants.
        let constants: Vec<String> = AVX2
            .lines()
            .map(|l| l.split_once("vbroadcastss").map_or(l.into(), |(a, _)| format!("{a}vbroadcastss -0x54c7cc(%rip),%ymm2")))
            .collect();
        assert!(find(Arch::X86, &constants.join("\n")).is_empty());
        // An exponential, its constants in the lanes of a register.
        assert!(neon("nop", "frintn\tv9.4s, v28.4s").is_empty());
    }
}
