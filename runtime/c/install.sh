#!/usr/bin/env bash
# Builds the C interface and installs header, libraries, pkg-config file and CMake package:
#
#   runtime/c/install.sh --prefix DIR [--features LIST] [--profile NAME] [--target TRIPLE] [--static-only]
#
# --features   a comma-separated list in place of all features: `std,avx2,` and what `sepal features MODEL` prints
# --profile    release (default) or small (optimised for size; a panic ends the program instead of becoming an error)
# --target     another machine's triple; its library and linker must be set up for cargo
# DESTDIR, if set, is put before the prefix of what is written, not of what is written about.
set -euo pipefail
cd "$(dirname "$0")/../.."

prefix="" profile=release features=all static_only=false
cargo_args=()
target_dir="${CARGO_TARGET_DIR:-target}"
while [ $# -gt 0 ]; do
  case "$1" in
    --prefix) prefix="$2"; shift 2 ;;
    --features) features="$2"; cargo_args+=(--no-default-features --features "$2"); shift 2 ;;
    --profile) profile="$2"; shift 2 ;;
    --target) cargo_args+=(--target "$2"); target_dir="$target_dir/$2"; shift 2 ;;
    --static-only) static_only=true; shift ;;
    *) echo "unknown argument: $1" >&2; sed -n '2,10s/^# \?//p' "$0" >&2; exit 2 ;;
  esac
done
[ -n "$prefix" ] || { echo "--prefix DIR is missing" >&2; exit 2; }
# Without `std` a panic cannot become an error.
case ",$features," in
  ,all,|*,std,*|*,threads,*|*,mmap,*) ;;
  *) [ "$profile" != release ] || { echo "features without std: --profile small is needed" >&2; exit 2; } ;;
esac
case "$prefix" in /*) ;; *) prefix="$PWD/$prefix" ;; esac

abi="$(sed -n 's/^pub const SEPAL_ABI_VERSION: u32 = \([0-9]*\);/\1/p' runtime/c/src/status.rs)"
version="$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)"
[ -n "$abi" ] && [ -n "$version" ]
built="$target_dir/$profile"
build() { ${CARGO:-cargo} rustc -q -p sepal-c --lib --profile "$profile" "${cargo_args[@]}" --crate-type "$1" -- "${@:2}"; }

to="${DESTDIR:-}$prefix"
install -d "$to/include" "$to/lib/pkgconfig" "$to/lib/cmake/sepal"
install -m 644 runtime/c/include/sepal.h "$to/include/"
build staticlib
install -m 644 "$built/libsepal_c.a" "$to/lib/libsepal.a"
if ! $static_only; then
  build cdylib -C "link-arg=-Wl,-soname,libsepal.so.$abi"
  install -m 755 "$built/libsepal_c.so" "$to/lib/libsepal.so.$abi"
  ln -sf "libsepal.so.$abi" "$to/lib/libsepal.so"
fi
for file in sepal.pc:pkgconfig sepal-config.cmake:cmake/sepal sepal-config-version.cmake:cmake/sepal; do
  said="$prefix"
  # Where pkg-config sees #, a comment begins.
  case "$file" in sepal.pc:*) said="${said//#/\\#}" ;; esac
  said="$(sed 's/[&|\\]/\\&/g' <<< "$said")"
  sed "s|@PREFIX@|$said|g; s|@VERSION@|$version|g; s|@ABI@|$abi|g" "runtime/c/cmake/${file%%:*}.in" > "$to/lib/${file##*:}/${file%%:*}"
done
echo "installed to $to"
