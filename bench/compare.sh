#!/usr/bin/env bash
# compare.sh [ROUNDS=3] [MAX_SECONDS=900]: this proxy beside HAProxy, nginx and, where `envoy` is in PATH, Envoy. All of them stand
# in the same two network namespaces behind the same iptables rules, one after the other in every round; what counts is the
# ratio within a round. Needs root and an otherwise idle machine. The rig is not part of this repository: SLUICE_RIG names its
# folder. Raw rows and tables go to SLUICE_BENCH_OUT (default build/bench).
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
rounds=${1:-3} seconds=${2:-900}
rig=${SLUICE_RIG:-$root/../shared/bench}
out=${SLUICE_BENCH_OUT:-$root/build/bench}
binary=${SLUICE_PROXY:-$root/build/bin/sluice-proxy}
[ -x "$rig/suite.sh" ] || { echo "no comparison: the rig is not in $rig (SLUICE_RIG names its folder)" >&2; exit 0; }
[ "$(id -u)" = 0 ] || { echo 'no comparison: network namespaces need root' >&2; exit 1; }
for tool in haproxy nginx wrk make g++ ip iptables; do
  command -v "$tool" >/dev/null || { echo "no comparison: $tool is missing (packages.txt, group bench)" >&2; exit 1; }
done

export PF_RUN=${PF_RUN:-/tmp/sluice-bench/run} PF_BIN=${PF_BIN:-/tmp/sluice-bench/bin}
work=$(mktemp -d)
finish() { "$work/rig/topo.sh" redirect none; "$work/rig/topo.sh" down; rm -rf "$work"; } >/dev/null 2>&1
trap finish EXIT
trap 'exit 130' INT TERM
mkdir -p "$out" "$PF_RUN/peers" "$PF_RUN/sluice"
cp -r "$rig" "$work/rig"
chmod -R u+w "$work/rig"
# The rig looks for a listener of IPv4; ours is one of both families and stands in the kernel's other table.
sed -i -e 's|with open("/proc/%d/net/tcp" % self.p.pid) as f:|with open("/proc/%d/net/tcp" % self.p.pid) as f, open("/proc/%d/net/tcp6" % self.p.pid) as g:|' \
  -e 's|mine = f.read()$|mine = f.read() + g.read()|' -e 's|\[0-9A-F\]{8}%s\[0-9A-F:\]+ 0A|(?:[0-9A-F]{8}){1,4}%s[0-9A-F:]+ 0A|' "$work/rig/measure.py"
# The load's own ports reach down to 10,000 here. One of them on a listener's port would keep that proxy from starting.
sed -i 's|net.ipv4.ip_local_port_range="10000 65000"|& net.ipv4.ip_local_reserved_ports=15000-15099|' "$work/rig/topo.sh"
grep -q 'g.read()' "$work/rig/measure.py" || { echo 'the rig has changed: compare.sh does not find where it waits for a listener' >&2; exit 1; }

cp "$binary" "$PF_RUN/sluice/sluice-proxy"
cp -r "$root/bench/mesh/." "$PF_RUN/sluice/"
cat >"$PF_RUN/sluice/start.sh" <<'END'
#!/bin/sh
# start.sh SIDE THREADS MESH
case $1 in out) pod=client ;; in) pod=app ;; esac
here=$(dirname "$0")
exec "$here/sluice-proxy" sidecar --config "$here/$3" --pod "bench/$pod" --concurrency "$2"
END
chmod -R a+rX "$PF_RUN"
chmod a+x "$PF_RUN/sluice/start.sh" "$PF_RUN/sluice/sluice-proxy"
for kind in http tcp; do
  printf 'desc = sluice, %s\ncmd = {run}/sluice/start.sh {side} {threads} %s\n' "$kind" "$kind" >"$PF_RUN/peers/sluice-$kind.conf"
done

cat >"$work/plan" <<'END'
direct none ka:64 close:16 lat:1000:16:4
haproxy-http both ka:64 close:16 lat:1000:16:4 lat:8000:32 body64k:16
haproxy-http-splice both body100m:2
haproxy-tcp both ka:64 close:16
httpfloor both ka:64 close:16 lat:8000:32
nginx-http both ka:64
sluice-http both ka:64 close:16 lat:1000:16:4 lat:8000:32 body64k:16 body100m:2
sluice-http@2 both ka:64
sluice-tcp both ka:64 close:16
END
if [ -n "${SLUICE_BENCH_PLAN:-}" ]; then             # a part of it only
  echo "$SLUICE_BENCH_PLAN" >"$work/plan"
  "$work/rig/suite.sh" "$work/plan" "$out/rows.jsonl" "$rounds" "$seconds"
  exit
fi
if command -v envoy >/dev/null; then
  echo 'envoy-http both ka:64 close:16 lat:1000:16:4' >>"$work/plan"
else
  echo 'envoy is not in PATH: left out' >&2
fi
cat >"$work/once" <<'END'
sluice-http out sys:1:2000 sys:64:20000 idle:9000
sluice-tcp out idle:9000
haproxy-http out sys:1:2000 sys:64:20000 idle:9000
haproxy-tcp out idle:9000
END
rows=$out/rows.jsonl
rm -f "$rows"
"$work/rig/suite.sh" "$work/plan" "$rows" "$rounds" "$seconds" || echo 'not every round was finished' >&2
"$work/rig/suite.sh" "$work/once" "$rows" 1 300 || true
python3 -B "$root/bench/gates.py" "$rows" | tee "$out/gates.md"
