#!/usr/bin/env bash
# profile.sh: makes bench/profile.proftext anew, the counts that release builds are optimised with (cmake/Profile.cmake). An
# instrumented proxy serves the loads of the comparison on both sides; what ran less than a hundred times is left out. An old
# profile costs speed and nothing else: functions that have changed since are compiled as without one. Needs what compare.sh needs.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -m 777 "$work/raw"
chmod 755 "$work"
names='-mllvm -static-func-full-module-prefix=0'    # as cmake/Profile.cmake says
clang-19 -c -fPIC "$root/bench/profile_dump.c" -o "$work/dump.o"
cmake --preset release -S "$root" -B "$work/build" -DSLUICE_PROFILE=OFF -DSLUICE_LTO=OFF -DCMAKE_CXX_FLAGS="-fprofile-generate $names" \
  -DCMAKE_C_FLAGS="-fprofile-generate $names" -DCMAKE_EXE_LINKER_FLAGS="$work/dump.o" >/dev/null
cmake --build "$work/build" --target sluice-proxy
SLUICE_PROXY=$work/build/bin/sluice-proxy SLUICE_BENCH_OUT=$work/out LLVM_PROFILE_FILE=$work/raw/%p.profraw \
  SLUICE_BENCH_PLAN='sluice-http both ka:64 close:16 lat:1000:16:4 body64k:16 body100m:2
sluice-tcp both ka:64 close:16' "$root/bench/compare.sh" 1 >/dev/null
llvm-profdata-19 merge -text -o "$work/all" "$work"/raw/*.profraw
python3 -B - "$work/all" "$root/bench/profile.proftext" <<'END'
import sys
head, *functions = open(sys.argv[1]).read().split('\n\n')
lines = head.split('\n')
first = next(i for i, line in enumerate(lines) if line and line[0] not in '#:')   # the format's flags stand before the functions
functions.insert(0, '\n'.join(lines[first:]))
def ran(function):
    rows = [line for line in function.split('\n') if line and line[0] != '#']
    return len(rows) > 3 and max(map(int, rows[3:3 + int(rows[2])]), default=0) >= 100
with open(sys.argv[2], 'w') as out:
    out.write('\n'.join(lines[:first]) + '\n' + '\n\n'.join(filter(ran, functions)).rstrip('\n') + '\n')
END
wc -c "$root/bench/profile.proftext"
