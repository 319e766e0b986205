#!/usr/bin/python3 -B
"""The rows of a comparison as a table: each figure, the peer in the same round, the ratio, the gate. gates.py ROWS.jsonl"""
import json
import statistics
import sys

# figure, test, metric, ours, peer, gate. A ratio is taken within a round, and the median of the rounds counts.
RATIOS = [
    ('HTTP keep-alive, 64 connections, both sides: CPU', 'ka:64', 'cpu_100k', 'sluice-http@1', 'haproxy-http@1', 0.85),
    ('the same against Envoy', 'ka:64', 'cpu_100k', 'sluice-http@1', 'envoy-http@1', 0.27),
    ('the same against nginx (fixed upstream)', 'ka:64', 'cpu_100k', 'sluice-http@1', 'nginx-http@1', None),
    ('the same against the floor of this rig', 'ka:64', 'cpu_100k', 'sluice-http@1', 'httpfloor@1', None),
    ('requests/s, 64 connections', 'ka:64', 'rps', 'sluice-http@1', 'haproxy-http@1', None),
    ('1,000 requests/s, 16 connections: CPU', 'lat:1000:16:4', 'cpu_100k', 'sluice-http@1', 'haproxy-http@1', 0.90),
    ('connection per request: CPU', 'close:16', 'cpu_100k', 'sluice-http@1', 'haproxy-http@1', 0.90),
    ('the same against Envoy', 'close:16', 'cpu_100k', 'sluice-http@1', 'envoy-http@1', None),
    ('opaque TCP, 64 connections: CPU', 'ka:64', 'cpu_100k', 'sluice-tcp@1', 'haproxy-tcp@1', 1.00),
    ('opaque TCP, connection per request: CPU', 'close:16', 'cpu_100k', 'sluice-tcp@1', 'haproxy-tcp@1', 1.10),
    ('100 MiB against HAProxy with splice: CPU/GB', 'body100m:2', 'cpu_gb', 'sluice-http@1', 'haproxy-http-splice@1', 0.80),
    ('64 KiB bodies: CPU/GB', 'body64k:16', 'cpu_gb', 'sluice-http@1', 'haproxy-http@1', None),
    ('8,000 requests/s: median latency', 'lat:8000:32', 'p50', 'sluice-http@1', 'haproxy-http@1', 0.85),
    ('8,000 requests/s: 99th percentile', 'lat:8000:32', 'p99', 'sluice-http@1', 'haproxy-http@1', None),
    ('two workers against one: CPU', 'ka:64', 'cpu_100k', 'sluice-http@2', 'sluice-http@1', 1.15),
]


def name(row):
    return row['peer'] if row['peer'] == 'direct' else f"{row['peer']}@{row['threads']}"


def load(path):
    """Values by (peer, test, metric) and round. Rows beside which other work took over a fifth of a core count where no other is."""
    clean, dirty = {}, {}
    with open(path) as file:
        for line in file:
            row = json.loads(line)
            if row.get('errors', 0) > 0.001 * row.get('requests', 1):
                continue
            into = dirty if row.get('dirty') else clean
            for metric in ('cpu_100k', 'user_100k', 'cpu_gb', 'rps', 'p50', 'p99', 'rss_kb_per_conn', 'rss_before_kb', 'total_per_request'):
                if metric in row:
                    into.setdefault((name(row), row['test'], metric), {}).setdefault(row['round'], []).append(row[metric])
    rows = {key: clean.get(key) or dirty[key] for key in {*clean, *dirty}}
    noisy = {key for key in dirty if key not in clean}
    return {key: {n: statistics.median(v) for n, v in rounds.items()} for key, rounds in rows.items()}, noisy


def text(value):
    return f'{value:,.0f}' if value >= 1000 else f'{value:.1f}' if value >= 50 else f'{value:.2f}'


def main():
    rows, noisy = load(sys.argv[1])
    print('| figure | sluice | peer | ratio | gate | |\n|---|---|---|---|---|---|')
    for title, test, metric, ours, peer, gate in RATIOS:
        mine, theirs = rows.get((ours, test, metric), {}), rows.get((peer, test, metric), {})
        ratios = [mine[n] / theirs[n] for n in mine if theirs.get(n)]
        if not ratios:
            print(f'| {title} | - | {peer}: not measured | - | {gate or ""} | |')
            continue
        ratio = statistics.median(ratios)
        spread = f' ({min(ratios):.2f}–{max(ratios):.2f})' if len(ratios) > 1 else ''
        mark = '' if not gate else 'holds' if ratio <= gate else 'missed'
        if {(ours, test, metric), (peer, test, metric)} & noisy:
            mark += ' (other work on the machine)'
        print(f'| {title} | {text(statistics.median(mine.values()))} | {peer.partition("@")[0]} {text(statistics.median(theirs.values()))} '
              f'| {ratio:.2f}{spread} | {"≤ " + format(gate, ".2f") if gate else ""} | {mark} |')

    def single(title, ours, peer, test, metric, gate, scale=1.0):
        mine, theirs = rows.get((ours, test, metric)), rows.get((peer, test, metric))
        if not mine:
            return
        value = statistics.median(mine.values()) / scale
        beside = f'{peer.partition("@")[0]} {text(statistics.median(theirs.values()) / scale)}' if theirs else '-'
        print(f'| {title} | {text(value)} | {beside} | | {"≤ " + str(gate) if gate else ""} | '
              f'{"" if not gate else "holds" if value <= gate else "missed"} |')

    single('idle HTTP connection, 9,000 of them: KiB', 'sluice-http@1', 'haproxy-http@1', 'idle:9000', 'rss_kb_per_conn', 1.2)
    single('idle TCP connection, 9,000 of them: KiB', 'sluice-tcp@1', 'haproxy-tcp@1', 'idle:9000', 'rss_kb_per_conn', 3)
    single('memory before the first of them: MB', 'sluice-http@1', 'haproxy-http@1', 'idle:9000', 'rss_before_kb', 12, 1000)
    single('system calls a request, 1 connection', 'sluice-http@1', 'haproxy-http@1', 'sys:1:2000', 'total_per_request', 10)
    single('system calls a request, 64 connections', 'sluice-http@1', 'haproxy-http@1', 'sys:64:20000', 'total_per_request', 7)
    print('\nCPU: seconds of the proxies of both sides for 100,000 requests, or for 10^9 bytes; latency: microseconds.')


main()
