#!/bin/sh
# Every header of ours compiles alone.
set -eu
cd "$(dirname "$0")/.."
[ -f build/compile_commands.json ] || cmake --preset release >/dev/null
bad=0 count=0
for header in $(find lib iptables inject proxy init ctl -name '*.h' | sort); do
  count=$((count + 1))
  clang++-19 -std=c++23 -fsyntax-only -Wall -Wextra -Wno-pragma-once-outside-header -DLLHTTP_STRICT_MODE=1 -Ilib -I. \
    -isystem /usr/share/include/llhttp -x c++-header "$header" || { echo "$header does not compile alone" >&2; bad=1; }
done
[ $bad = 0 ] && echo "headers: $count compile alone"
exit $bad
