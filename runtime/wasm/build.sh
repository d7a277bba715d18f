#!/usr/bin/env bash
# Builds the module: runtime/wasm/build.sh [--features LIST] [--to FILE]
#
# --features   a comma-separated list in place of all operators: what `sepal features MODEL` prints; `scalar` adds a path whose results
#              are equal to the bit to those of other machines
# --to         where to write it; target/wasm/sepal.wasm otherwise
#
# RUSTC, CARGO and RUSTFLAGS are taken from the environment. With a toolchain that has the target wasm32-unknown-unknown nothing else is
# needed; SEPAL_BUILD_STD=1 builds the core library from its sources instead, for one that has these only.
set -euo pipefail
cd "$(dirname "$0")/../.."
to=target/wasm/sepal.wasm
features=()
while [ $# -gt 0 ]; do
  case "$1" in
    --features) features=(--no-default-features --features "$2"); shift 2 ;;
    --to) to="$2"; shift 2 ;;
    *) echo "unknown argument: $1" >&2; sed -n '2,8s/^# \?//p' "$0" >&2; exit 2 ;;
  esac
done
std=()
if [ "${SEPAL_BUILD_STD:-0}" = 1 ]; then
  export RUSTC_BOOTSTRAP=1
  std=(-Zbuild-std=core,alloc)
fi
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$PWD/target/wasm/build}"
RUSTFLAGS="-C target-feature=+simd128 -C strip=symbols ${RUSTFLAGS:-}" ${CARGO:-cargo} build -q --locked --release \
  --manifest-path runtime/wasm/Cargo.toml --target wasm32-unknown-unknown "${features[@]}" "${std[@]}"
mkdir -p "$(dirname "$to")"
cp "$CARGO_TARGET_DIR/wasm32-unknown-unknown/release/sepal_wasm.wasm" "$to"
ls -l "$to"
