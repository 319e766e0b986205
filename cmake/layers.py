#!/usr/bin/env python3
"""Checks every #include of ours against cmake/rooms.txt, and that each third-party library is included by its own room only.

Prints one line per violation as file:line: message and exits 1, else prints how many files it read."""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
INCLUDE = re.compile(r'^\s*#\s*include\s+(["<])([^">]+)[">]')
TOP = ['iptables', 'inject', 'proxy', 'init', 'ctl', 'guard']
# first part of an include path → where it may stand: rooms, and whether headers may include it
OWNERS = {
    'boost/asio': ({'net'}, False), 'openssl': ({'net', 'identity'}, False), 'llhttp.h': ({'http'}, False),
    'nghttp2': ({'http'}, False), 'yaml-cpp': ({'doc'}, False), 're2': ({'base'}, False),
    'ares.h': ({'dns'}, False), 'libnetfilter_queue': ({'guard'}, False),
}


def rows():
    table = {}
    for number, line in enumerate((ROOT / 'cmake/rooms.txt').read_text().splitlines(), 1):
        line = line.split('#')[0].strip()
        if not line:
            continue
        name, colon, allowed = line.partition(':')
        if not colon:
            sys.exit(f'cmake/rooms.txt:{number}: expected NAME: ROOM…')
        table[name.strip()] = set(allowed.split())
    return table


def room_of(path):
    parts = path.relative_to(ROOT).parts
    if parts[0] == 'lib':
        return parts[1]
    return parts[0] if parts[0] in TOP else None


def program_file(path, room):
    """The webhook's files live beside the pure library of inject/: CMake lists them under the program."""
    return room == 'inject' and (path.name == 'main.cc' or path.name.startswith('webhook'))


def check(path, table):
    room = room_of(path)
    if room is None:
        return
    row = table.get(f'{room}/program' if program_file(path, room) else room, set()) | {room}
    test = path.name.endswith(('_test.cc', '_fuzz.cc'))
    for number, line in enumerate(path.read_text(errors='replace').splitlines(), 1):
        found = INCLUDE.match(line)
        if not found:
            continue
        target = found[2]
        where = f'{path.relative_to(ROOT)}:{number}'
        first = target.split('/')[0]
        if found[1] == '"' and first in table and first not in row:
            yield f'{where}: room {room} may not include {first} (cmake/rooms.txt)'
        for prefix, (rooms, headers) in OWNERS.items():
            if target == prefix or target.startswith(prefix + '/'):
                if room not in rooms:
                    yield f'{where}: <{target}> belongs to room {", ".join(sorted(rooms))}'
                elif path.suffix == '.h' and not headers:
                    yield f'{where}: <{target}> may stand only in .cc files of {room}'
        if target.startswith('CLI/') and path.name != 'main.cc' and not test:
            yield f'{where}: CLI11 only in main.cc'


def main():
    table, files, bad = rows(), 0, []
    for folder in ['lib', *TOP]:
        for path in sorted((ROOT / folder).rglob('*')) if (ROOT / folder).is_dir() else []:
            if path.suffix in ('.h', '.cc'):
                files += 1
                bad += check(path, table)
    print('\n'.join(bad) if bad else f'layers: {files} files, no violation')
    sys.exit(bool(bad))


main()
