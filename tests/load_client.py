#!/usr/bin/python3 -B
"""An open-loop HTTP/1.1 load generator: `load_client.py HOST PORT AUTHORITY RATE [PATH_SIZE [BURST]]`. RATE requests a second
are due whatever becomes of the earlier ones, and BURST more at the very beginning; each takes an idle keep-alive connection or opens one. One in ten is a POST with a body.
Every request has an id and every answer must bring back the id and the body's CRC-32, so an answer that went to the wrong
request is a failure too. Commands on stdin, one a line: `mark NAME` begins a new section of the figures, `stop` ends. The last
line on stdout is JSON: a list of sections with what was due, answered and failed, and times from the moment a request was due.

A connection that ends between two requests is nobody's fault. One that ends under a request is a failure, also when nothing of
an answer came: whoever closes an idle connection without having said so is what this program is here to find."""
import collections
import json
import os
import random
import select
import socket
import sys
import time
import zlib

MOST_CONNECTIONS = 400
TIME_OUT = 20.0                 # the machine may be busy; a proxy that loses a request never answers it
SHOWN = 10                      # failures per section with all their details


class Section:
    def __init__(self, name):
        self.name, self.began = name, time.time()
        self.due = self.answered = self.failed = self.opened = self.refused = self.announced = 0
        self.failures, self.servers, self.times, self.first_ok, self.first_failure, self.last_failure = [], collections.Counter(), [], None, None, None

    def figures(self):
        times = sorted(self.times)

        def at(share):
            return round(times[min(len(times) - 1, int(len(times) * share))] * 1000, 2) if times else None
        return {'name': self.name, 'seconds': round(time.time() - self.began, 2), 'due': self.due, 'answered': self.answered,
                'failed': self.failed, 'failures': self.failures, 'connections_opened': self.opened, 'connects_refused': self.refused,
                'close_announced': self.announced, 'servers': dict(self.servers), 'p50_ms': at(0.5), 'p99_ms': at(0.99),
                'max_ms': at(1), 'began': self.began, 'first_ok': self.first_ok, 'first_failure': self.first_failure, 'last_failure': self.last_failure}


class Connection:
    __slots__ = ('sock', 'got', 'unsent', 'identity', 'due', 'began', 'crc', 'section', 'connecting')

    def __init__(self, sock):
        self.sock, self.got, self.unsent, self.identity, self.connecting = sock, b'', b'', None, True


class Load:
    def __init__(self, host, port, authority, rate, path_size, burst):
        self.address, self.authority, self.rate, self.path_size = (host, port), authority.encode(), rate, path_size
        self.family = socket.AF_INET6 if ':' in host else socket.AF_INET
        self.poll = select.epoll()
        self.by_fd, self.idle, self.waiting = {}, [], collections.deque()
        self.sections = [Section('begin')]
        self.number, self.burst, self.stopping, self.commands = 0, burst, False, b''
        self.random = random.Random(1)
        self.bodies = [self.random.randbytes(size) for size in (1, 100, 1000, 5000, 20000)]
        os.set_blocking(0, False)
        self.poll.register(0, select.EPOLLIN)

    def run(self):
        began = time.monotonic()
        due = 0
        checked = began
        self.waiting.extend([began] * self.burst)
        self.sections[-1].due += self.burst
        while True:
            now = time.monotonic()
            if not self.stopping:
                wanted = int((now - began) * self.rate)
                while due < wanted:
                    self.waiting.append(began + due / self.rate)
                    self.sections[-1].due += 1
                    due += 1
            self.start_waiting()
            if self.stopping and not self.waiting and all(c.identity is None for c in self.by_fd.values()):
                return
            for fd, events in self.poll.poll(0.002):
                if fd == 0:
                    self.command()
                elif (connection := self.by_fd.get(fd)) is not None:
                    self.event(connection, events)
            if now - checked > 1:
                checked = now
                for connection in list(self.by_fd.values()):
                    if connection.identity is not None and now - connection.began > TIME_OUT:
                        self.fail(connection, f'no answer within {TIME_OUT:.0f} s')

    def command(self):
        data = os.read(0, 4096)
        self.commands += data
        if not data:
            self.stop()
        *lines, self.commands = self.commands.split(b'\n')
        for line in lines:
            if line == b'stop':
                self.stop()
            elif line.startswith(b'mark '):
                self.sections.append(Section(line[5:].decode()))
                print('marked', flush=True)

    def stop(self):
        self.stopping = True
        self.poll.unregister(0)

    def start_waiting(self):
        while self.waiting and (self.idle or len(self.by_fd) < MOST_CONNECTIONS):
            if self.idle:
                connection = self.idle.pop()
            else:
                connection = self.open()
            self.request(connection, self.waiting.popleft())

    def open(self):
        sock = socket.socket(self.family)
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.connect_ex(self.address)
        connection = Connection(sock)
        self.by_fd[sock.fileno()] = connection
        self.poll.register(sock, select.EPOLLIN | select.EPOLLOUT)
        self.sections[-1].opened += 1
        return connection

    def request(self, connection, due):
        self.number += 1
        c = connection
        c.identity = b'%d-%d' % (os.getpid(), self.number)
        c.due, c.began, c.section = due, time.monotonic(), self.sections[-1]
        body = self.random.choice(self.bodies) if self.number % 10 == 0 else b''
        c.crc = zlib.crc32(body)
        c.unsent = b'%s /%s%s HTTP/1.1\r\nHost: %s\r\nx-load-id: %s\r\n%s\r\n%s' % (
            b'POST' if body else b'GET', c.identity, b'x' * self.path_size, self.authority, c.identity,
            b'content-length: %d\r\n' % len(body) if body else b'', body)
        if not c.connecting:
            self.send(c)

    def send(self, c):
        try:
            c.unsent = c.unsent[c.sock.send(c.unsent):]
        except BlockingIOError:
            pass
        except OSError as error:
            self.fail(c, f'send: {error.strerror}')
            return
        self.poll.modify(c.sock, select.EPOLLIN | (select.EPOLLOUT if c.unsent else 0))

    def event(self, c, events):
        if c.connecting:
            if error := c.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                c.section.refused += 1
                self.fail(c, f'connect: {os.strerror(error)}')
                return
            c.connecting = False
        if events & select.EPOLLOUT and c.unsent:
            self.send(c)
        if not events & (select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR) or c.sock.fileno() < 0:
            return
        try:
            data = c.sock.recv(65536)
        except BlockingIOError:
            return
        except OSError as error:
            self.ended(c, error.strerror)
            return
        if not data:
            self.ended(c, 'closed')
            return
        c.got += data
        if c.identity is None:
            self.fail(c, f'bytes without a request: {c.got[:60]!r}')
            return
        self.answer(c)

    def answer(self, c):
        head_end = c.got.find(b'\r\n\r\n')
        if head_end < 0:
            return
        head = c.got[:head_end + 2]
        at = head.find(b'\r\ncontent-length: ')
        if at < 0:
            self.fail(c, f'no length: {head!r}')
            return
        end = head_end + 4 + int(head[at + 18:head.index(b'\r', at + 18)])
        if len(c.got) < end:
            return
        body, rest = c.got[head_end + 4:end], c.got[end:]
        section, words = c.section, body.split()
        if head[9:12] != b'200' or rest or len(words) != 3 or words[1] != c.identity or words[2] != b'%d' % c.crc:
            self.fail(c, f'{head[9:12].decode()} {body[:200]!r}' + (f' and then {rest[:60]!r}' if rest else ''))
            return
        section.answered += 1
        section.servers[words[0].decode()] += 1
        section.times.append(time.monotonic() - c.due)
        if section.first_ok is None:
            section.first_ok = time.time()
        c.got, c.identity = b'', None
        if c.unsent:
            self.fail(c, 'answered before the request was sent')
        elif b'\r\nconnection: close' in head:
            section.announced += 1
            self.close(c)
        else:
            self.idle.append(c)

    def ended(self, c, why):
        if c.identity is None:
            self.idle.remove(c)
            self.close(c)
        else:
            self.fail(c, f'{why} with {len(c.got)} bytes of an answer, {len(c.unsent)} of the request unsent')

    def fail(self, c, why):
        section = c.section
        section.failed += 1
        section.last_failure = time.time()
        section.first_failure = section.first_failure or section.last_failure
        if len(section.failures) < SHOWN:
            section.failures.append(f'{time.time() - section.began:.3f} s {(c.identity or b"-").decode()}: {why}')
        self.close(c)

    def close(self, c):
        if c.sock.fileno() >= 0:
            del self.by_fd[c.sock.fileno()]
            self.poll.unregister(c.sock)
            c.sock.close()


def main():
    load = Load(sys.argv[1], int(sys.argv[2]), sys.argv[3], float(sys.argv[4]), *[int(word) for word in (sys.argv[5:] + ['0', '0'])[:2]])
    load.run()
    print(json.dumps([section.figures() for section in load.sections]), flush=True)


if __name__ == '__main__':
    main()
