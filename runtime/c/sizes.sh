#!/usr/bin/env bash
# What a program weighs: runtime/c/sizes.sh MODEL CLASSIFIER [MODEL...]
#
# Builds two programs, stripped: examples/memory.c with what MODEL needs and nothing else, and examples/run.c with `std` besides. Runs
# both, and fails if they are larger than promised or if they run CLASSIFIER, which needs more. With --table first, it also builds
# programs for each further model and with each feature by itself and writes SIZES.md, which takes long.
set -euo pipefail
cd "$(dirname "$0")/../.."
table=false
if [ "$1" = --table ]; then
  table=true
  shift
fi
model="$(realpath "$1")"
to="$PWD/target/sizes"
mkdir -p "$to"

install() { runtime/c/install.sh --prefix "$to/sepal" --profile small --static-only --features "$1" > /dev/null; }
# Bytes of a program: link NAME SOURCE COMPILER...
link() {
  local out="$1" source="$2"
  shift 2
  "$@" -std=c11 -Os "runtime/c/examples/$source" -I "$to/sepal/include" "$to/sepal/lib/libsepal.a" -o "$to/$out" \
    -Wl,--gc-sections -s -lpthread -ldl -lm
  stat -c %s "$to/$out"
}

# A program that lacks what a model needs says so, and runs nothing.
refuses() {
  local said
  if said="$("$to/$1" "$2" "$to/input.f32" 2>&1)"; then
    echo "$1 runs $2, for which it was not built" >&2
    exit 1
  fi
  echo "$1: $said"
  grep -q "$3" <<< "$said"
}
limit() {
  echo "$1: $2 bytes, at most $3"
  [ "$2" -lt "$3" ]
}

head -c 4096 /dev/zero > "$to/input.f32"
# SEPAL may name the command, if it is there already.
read -ra sepal <<< "${SEPAL:-cargo run -q --release --}"
features="$("${sepal[@]}" features "$model")"
set="avx2"
grep -qw avx2 /proc/cpuinfo || set="scalar"

install "$set,$features"
own="$(link own memory.c cc)"
own_static="$(link own-static memory.c musl-gcc -static)"
own_glibc="$(link own-glibc memory.c cc -static)"
diff <("$to/own" "$model" "$to/input.f32") <("$to/own-static" "$model" "$to/input.f32")
refuses own "$(realpath "$2")" "without"
limit "$set,$features" "$own" 400000
limit "the same, static, with musl in it" "$own_static" 1000000
limit "the same, static, with glibc in it" "$own_glibc" 1000000

install "std,$set,$features"
with_std="$(link with-std run.c cc)"
diff <("$to/own" "$model" "$to/input.f32") <("$to/with-std" "$model" "$to/input.f32")
refuses with-std "$(realpath "$2")" "which this build leaves out"
limit "std,$set,$features" "$with_std" 1000000
$table || exit 0

kb() { awk -v n="$1" 'BEGIN { printf "%.0f KB", n / 1000 }'; }
of() { install "$1"; link one "${2:-memory.c}" cc; }
{
  cat <<HEAD
# What a program weighs

Made by \`runtime/c/sizes.sh --table\`, on $(uname -m): programs with \`libsepal.a\` in the profile \`small\` (kernels optimised for speed,
the rest for size), stripped. \`$features\` is what the mini-Xception of the fixtures needs.

| program | features | size |
|---|---|---:|
| [\`memory.c\`](examples/memory.c) | \`$set,$features\` | $(kb "$own") |
| the same, static, with musl in it | | $(kb "$own_static") |
| the same, static, with glibc in it, most of which is glibc | | $(kb "$own_glibc") |
| [\`run.c\`](examples/run.c) | \`std,$set,$features\` | $(kb "$with_std") |
| the same | \`threads,mmap,isas,operators\` (all) | $(kb "$(of threads,mmap,isas,operators run.c)") |

## Networks

[\`memory.c\`](examples/memory.c) with what a network needs and nothing else, of one instruction set; with \`scalar\` it is smaller. Linked
statically, musl adds some 30 KB, and glibc some 660 KB.

| network | features | AVX2 | AVX-512 |
|---|---|---:|---:|
HEAD
  for network in "${@:2}"; do
    needs="$("${sepal[@]}" features "$network")"
    row=""
    for one in avx2 avx512; do
      size="$(of "$one,$needs")"
      limit "$one,$needs" "$size" 400000 >&2
      row+=" $(kb "$size") |"
    done
    echo "| $(basename "$network" .sepal) | \`$needs\` |$row"
  done
  cat << HEAD

## Each feature

Added to a program with \`avx2\` alone, which can do nothing. Operators share code (the matrix multiplication of \`conv\`, \`separable\` and
\`winograd\`), which is counted with each of them: the sum is more than the whole.

| feature | adds |
|---|---:|
HEAD
  base="$(of avx2)"
  for feature in $(sed -n '/^operators = \[/,/^\]/p' runtime/Cargo.toml | grep -o '"[^"]*"' | tr -d '"'); do
    # These change what others do.
    case "$feature" in
      f16 | exp) with="$(of "avx2,conv,$feature")"; without="$(of avx2,conv)"; note=" (to \`conv\`)" ;;
      winograd-*) with="$(of "avx2,winograd,$feature")"; without="$(of avx2,winograd)"; note=" (to \`winograd\`)" ;;
      depthwise-*) with="$(of "avx2,depthwise,$feature")"; without="$(of avx2,depthwise)"; note=" (to \`depthwise\`)" ;;
      *) with="$(of "avx2,$feature")"; without="$base"; note="" ;;
    esac
    echo "| \`$feature\`$note | $(kb $((with - without))) |"
  done
  hosted="$(of std,avx2 run.c)"
  echo "| \`std\` | $(kb $((hosted - base))) |"
  for feature in mmap threads; do echo "| \`$feature\` (to \`std\`) | $(kb $(($(of "$feature,avx2" run.c) - hosted))) |"; done
  echo
  echo "## Each instruction set"
  echo
  echo "With all operators. Only what the CPU has is used; \`scalar\` runs on any."
  echo
  echo "| features | size |"
  echo "|---|---:|"
  for sets in scalar avx2 avx512 scalar,avx2 scalar,avx2,avx512; do echo "| \`$sets\` | $(kb "$(of "operators,$sets")") |"; done
} > "$to/SIZES.md"
mv "$to/SIZES.md" runtime/c/SIZES.md
cat runtime/c/SIZES.md
