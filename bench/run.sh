#!/bin/sh
# run.sh RIG: instruction counts of our own, then, where the folder RIG exists, its comparison with HAProxy and nginx.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
python3 -B "$root/bench/instructions.py" --proxy "$root/build/bin/sluice-proxy" --limit 25000
