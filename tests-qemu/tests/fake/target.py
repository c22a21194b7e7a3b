# SPDX-License-Identifier: GPL-2.0
"""Targets that are none, or bad ones, one on each port from 7901 on, in the order of the arguments.

Prints "up" when all listen. Each is asked again and again, so each does the same every time.
"""

import random
import socket
import sys
import threading
import time

import wire


def noise(conn):
    conn.sendall(random.Random(len(sys.argv)).randbytes(4096))


def http(conn):
    conn.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


def truncated(conn):
    conn.sendall(wire.header(wire.WELCOME, length=168)[:20])


def huge(conn):
    conn.sendall(wire.header(wire.WELCOME, length=(1 << 32) - 1))


def damaged(conn):
    good = wire.header(wire.WELCOME, length=168)
    conn.sendall(good[:-1] + bytes([good[-1] ^ 1]))


def version(conn):
    conn.sendall(wire.header(wire.REFUSE, length=8, version=2) + bytes(8))


def zeroes(conn):
    conn.sendall(wire.message(wire.WELCOME, bytes(168)))


def small(conn):
    session = wire.read_hello(conn)
    conn.sendall(wire.message(wire.WELCOME, wire.welcome(session, size=4096)))


def features(conn):
    session = wire.read_hello(conn)
    conn.sendall(wire.message(wire.WELCOME, wire.welcome(session, features=1 << 63)))


def escape(conn):
    conn.sendall(wire.refuse(10, b"\x1b[2J\x1b[31m"))


def later(conn):
    conn.sendall(wire.refuse(4711, b""))


def out_of_turn(conn):
    conn.sendall(wire.message(wire.ACK, bytes(16)))


def silence(conn):
    # Until the other side gives up.
    while conn.recv(65536):
        pass


def never_sent(conn):
    session = wire.read_hello(conn)
    conn.sendall(wire.message(wire.WELCOME, wire.welcome(session)))
    conn.sendall(wire.message(wire.ACK, b"\xad\xde\0\0" + bytes(12)))
    silence(conn)


def serve(listener, behave):
    while True:
        conn, _ = listener.accept()
        try:
            behave(conn)
            # What was sent has to arrive before the end.
            conn.shutdown(socket.SHUT_WR)
            silence(conn)
        except (OSError, wire.Closed):
            pass
        conn.close()


listeners = []
for port, name in enumerate(sys.argv[1:], 7901):
    listener = socket.create_server(("0.0.0.0", port))
    threading.Thread(target=serve, args=(listener, globals()[name]), daemon=True).start()
    listeners.append(listener)
print("up", flush=True)
time.sleep(600)
