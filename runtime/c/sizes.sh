#!/usr/bin/env bash
# What a program weighs: runtime/c/sizes.sh MODEL CLASSIFIER
#
# Builds examples/run.c, stripped, with all features and with those of MODEL alone, runs both, and fails if they are larger than
# promised or if the second runs anything else. With --table first, it also builds it with each feature by itself and writes SIZES.md,
# which takes some minutes.
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
# Bytes of a program; with -static the C library is in it.
link() {
  local out="$1"
  shift
  cc -Os runtime/c/examples/run.c -I "$to/sepal/include" "$to/sepal/lib/libsepal.a" -o "$to/$out" -Wl,--gc-sections -s "$@" -lpthread -ldl -lm
  stat -c %s "$to/$out"
}
# What it does with a model that needs more than it has.
refuses() {
  local said
  if said="$("$to/$1" "$2" 2>&1)"; then
    echo "$1 runs $2, for which it was not built" >&2
    exit 1
  fi
  echo "$1: $said"
  grep -q "which this build leaves out" <<< "$said"
}
limit() {
  echo "$1: $2 bytes, at most $3"
  [ "$2" -lt "$3" ]
}

head -c 4096 /dev/zero > "$to/input.f32"
# SEPAL may name the command, if it is there already.
read -ra sepal <<< "${SEPAL:-cargo run -q --release --}"
features="$("${sepal[@]}" features "$model")"
own="std,avx2,$features"
if ! grep -qw avx2 /proc/cpuinfo; then own="std,scalar,$features"; fi

install "$own"
own_bytes="$(link own)"
own_static="$(link own-static -static -lgcc_eh)"
install threads,mmap,isas,operators
all_bytes="$(link all)"
all_static="$(link all-static -static -lgcc_eh)"
for program in own-static all all-static; do
  diff <("$to/own" "$model" "$to/input.f32") <("$to/$program" "$model" "$to/input.f32")
done
refuses own "$(realpath "$2")"
limit "all features" "$all_bytes" 1000000
limit "$own" "$own_bytes" 400000
limit "the same with the C library in it" "$own_static" 1000000
echo "all features, with the C library in it: $all_static bytes"
$table || exit 0

empty="$to/empty.c"
echo 'int main(void) { return 0; }' > "$empty"
c_static="$(cc -static -Os "$empty" -o "$to/empty" -s && stat -c %s "$to/empty")"
kb() { awk -v n="$1" 'BEGIN { printf "%.0f KB", n / 1000 }'; }
of() { install "$1"; link one; }
{
  cat <<HEAD
# What a program weighs

Made by \`runtime/c/sizes.sh --table\`, on $(uname -m), from [\`examples/run.c\`](examples/run.c) with \`libsepal.a\` in the profile \`small\`
(kernels optimised for speed, the rest for size), stripped.

| program | size | with the C library in it |
|---|---:|---:|
| all features | $(kb "$all_bytes") | $(kb "$all_static") |
| \`std\`, \`avx2\` and what the mini-Xception needs: \`$features\` | $(kb "$own_bytes") | $(kb "$own_static") |

An empty program weighs $(kb "$c_static") with the C library in it.

## Each feature

Added to a program that has \`std\` and \`avx2\` alone. Operators share code (the matrix multiplication of \`conv\`, \`separable\` and
\`winograd\`), which is counted with each of them: the sum is more than the whole.

| feature | adds |
|---|---:|
HEAD
  base="$(of std,avx2)"
  for feature in $(sed -n '/^operators = \[/,/^\]/p' runtime/Cargo.toml | grep -o '"[^"]*"' | tr -d '"'); do
    # These two change what others do.
    case "$feature" in
      f16 | exp) with="$(of "std,avx2,conv,$feature")"; without="$(of std,avx2,conv)"; note=" (to \`conv\`)" ;;
      *) with="$(of "std,avx2,$feature")"; without="$base"; note="" ;;
    esac
    echo "| \`$feature\`$note | $(kb $((with - without))) |"
  done
  for feature in mmap threads; do echo "| \`$feature\` | $(kb $(($(of "$feature,avx2") - base))) |"; done
  echo
  echo "## Each instruction set"
  echo
  echo "With \`std\` and all operators. Only what the CPU has is used; \`scalar\` runs on any."
  echo
  echo "| features | size |"
  echo "|---|---:|"
  for sets in scalar avx2 avx512 scalar,avx2 scalar,avx2,avx512; do echo "| \`$sets\` | $(kb "$(of "std,operators,$sets")") |"; done
} > "$to/SIZES.md"
mv "$to/SIZES.md" runtime/c/SIZES.md
cat runtime/c/SIZES.md
