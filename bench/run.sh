#!/bin/sh
# run.sh: what `make bench` does. Instructions of a keep-alive request first, the same on every machine; then, where the rig is to be
# had, the comparison with other proxies in one run (compare.sh; about 10 minutes, wants an idle machine).
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
python3 -B "$root/bench/instructions.py" --proxy "$root/build/bin/sluice-proxy" --limit 17500
exec "$root/bench/compare.sh" "$@"
