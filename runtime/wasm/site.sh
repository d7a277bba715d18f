#!/usr/bin/env bash
# Makes the page that reads digits: runtime/wasm/site.sh DIR
#
# DIR then has the page, the module with what the page's network needs, the network and samples: any static server can serve it, for
# instance `python3 -m http.server -d DIR`. The environment is that of build.sh; SEPAL may name the `sepal` command, if it is there.
set -euo pipefail
to="$(realpath -m "$1")"
cd "$(dirname "$0")/../.."
read -ra sepal <<< "${SEPAL:-cargo run -q --release --}"
mkdir -p "$to/samples"
"${sepal[@]}" convert fixtures/models/mini_xception.keras --labels fixtures/labels.txt --force -o "$to/digits.sepal" > /dev/null
runtime/wasm/build.sh --features "$("${sepal[@]}" features "$to/digits.sepal")" --to "$to/sepal.wasm"
cp runtime/wasm/web/index.html runtime/wasm/web/sepal.js "$to/"
cp fixtures/images/digit_*.png "$to/samples/"
