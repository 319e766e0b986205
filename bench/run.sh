#!/bin/sh
# run.sh: instructions per request of the proxy just built. The comparison with other proxies in one run is not built yet.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
python3 -B "$root/bench/instructions.py" --proxy "$root/build/bin/sluice-proxy" --limit 25000
