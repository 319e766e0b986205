#!/bin/sh
# fuzz.sh BUILD SECONDS: runs every fuzz target, SECONDS in all. Corpora lie beside the targets in testdata/fuzz/NAME.
# The seed is fixed, so that a red run can be repeated; FUZZ_SEED=0 takes a new one.
set -eu
build=$1 seconds=$2
root=$(cd "$(dirname "$0")/.." && pwd)
targets=$(find "$build/bin" -name '*_fuzz' | sort)
count=$(echo "$targets" | wc -w)
[ "$count" -gt 0 ] || { echo "fuzz: no targets" >&2; exit 1; }
each=$((seconds / count))
[ $each -ge 1 ] || each=1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for target in $targets; do
  name=$(basename "$target")
  seeds=$(find "$root/lib" "$root/proxy" -type d -path "*/testdata/fuzz/$name" | head -1)
  mkdir -p "$work/$name"
  if ! "$target" -seed="${FUZZ_SEED:-20261121}" -max_total_time=$each -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 -artifact_prefix="$work/" "$work/$name" ${seeds:+"$seeds"} >"$work/log" 2>&1; then
    tail -40 "$work/log" >&2
    echo "fuzz: $name found something" >&2
    for found in "$work"/crash-* "$work"/timeout-* "$work"/oom-*; do [ -f "$found" ] && { echo "input, base64:"; base64 "$found"; } >&2; done
    exit 1
  fi
  echo "fuzz: $name $(awk '/stat::number_of_executed_units/ { print $2 }' "$work/log") runs, clean"
done
