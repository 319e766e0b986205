#!/usr/bin/python3 -B
"""An HTTP/1.1 server for load: one process, epoll, keep-alive. `load_server.py NAME PORT` answers every request with
`NAME ID CRC`: its own name, the request's x-load-id, the CRC-32 of the body that came. SIGTERM ends it as a well-behaved app
does: no new connections, what has begun is answered with `connection: close`, idle connections close after a moment."""
import selectors
import signal
import socket
import sys
import time
import zlib

IDLE_AFTER_SIGNAL = 0.5        # seconds in which a request that is on its way may still arrive


class Connection:
    def __init__(self, sock):
        self.sock, self.got, self.unsent = sock, b'', b''


class Server:
    def __init__(self, name, port):
        self.name = name.encode()
        self.listener = socket.socket(socket.AF_INET6)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        self.listener.bind(('::', port))
        self.listener.listen(1024)
        self.listener.setblocking(False)
        self.poll = selectors.EpollSelector()
        self.poll.register(self.listener, selectors.EVENT_READ, None)
        self.connections, self.ending = set(), None

    def end(self):
        if self.ending is None:
            self.ending = time.monotonic() + IDLE_AFTER_SIGNAL
            self.poll.unregister(self.listener)
            self.listener.close()

    def run(self):
        while self.ending is None or (self.connections and time.monotonic() < self.ending):
            for key, events in self.poll.select(0.1):
                if key.data is None:
                    if self.ending is None:
                        self.accept()
                elif events & selectors.EVENT_WRITE:
                    self.send(key.data, b'')
                else:
                    self.read(key.data)

    def accept(self):
        try:
            sock, _ = self.listener.accept()
        except OSError:
            return
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = Connection(sock)
        self.connections.add(connection)
        self.poll.register(sock, selectors.EVENT_READ, connection)

    def close(self, connection):
        if connection in self.connections:
            self.connections.remove(connection)
            self.poll.unregister(connection.sock)
            connection.sock.close()

    def read(self, connection):
        try:
            data = connection.sock.recv(262144)
        except BlockingIOError:
            return
        except OSError:
            data = b''
        if not data:
            self.close(connection)
            return
        connection.got += data
        answers = b''
        while (answer := self.next_answer(connection)) is not None:
            answers += answer
        if answers:
            self.send(connection, answers)

    def next_answer(self, connection):
        """The answer to the first request in `got`, which is taken out; None when it is not complete."""
        head_end = connection.got.find(b'\r\n\r\n')
        if head_end < 0:
            return None
        head = connection.got[:head_end + 2].lower()
        at = head.find(b'\r\ncontent-length: ')
        size = int(head[at + 18:head.index(b'\r', at + 18)]) if at >= 0 else 0
        end = head_end + 4 + size
        if len(connection.got) < end:
            return None
        body = connection.got[head_end + 4:end]
        connection.got = connection.got[end:]
        at = head.find(b'\r\nx-load-id: ')
        identity = head[at + 13:head.index(b'\r', at + 13)] if at >= 0 else b'-'
        text = b'%s %s %d' % (self.name, identity, zlib.crc32(body))
        close = b'connection: close\r\n' if self.ending is not None else b''
        return b'HTTP/1.1 200 OK\r\ncontent-length: %d\r\n%s\r\n%s' % (len(text), close, text)

    def send(self, connection, data):
        connection.unsent += data
        try:
            sent = connection.sock.send(connection.unsent)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.close(connection)
            return
        connection.unsent = connection.unsent[sent:]
        self.poll.modify(connection.sock, selectors.EVENT_WRITE if connection.unsent else selectors.EVENT_READ, connection)


def main():
    server = Server(sys.argv[1], int(sys.argv[2]))
    signal.signal(signal.SIGTERM, lambda *_: server.end())
    print('listening', flush=True)
    server.run()


if __name__ == '__main__':
    main()
