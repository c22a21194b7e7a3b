# SPDX-License-Identifier: GPL-2.0
"""Messages of netraid's protocol, right and wrong ones; written from its description alone.

The layout is described in kmod/core/src/wire/mod.rs.
"""

import socket
import struct

VERSION = 1
HELLO, WELCOME, REFUSE, WRITE, FLUSH, DISCARD, ZEROES, ACK, PING = range(1, 10)
RESYNC_START, RESYNC_DONE, BYE, READ = 11, 12, 17, 18
KINDS = {HELLO: "hello", WELCOME: "welcome", REFUSE: "refuse", ACK: "ack", PING: "ping", BYE: "bye", 15: "reply"}

HEADER = struct.Struct("<4sBBHIIQQQI")
HELLO_BODY = struct.Struct("<HBBIQ16s16s16s16sQQQQIIIIII64s64s")
WELCOME_BODY = struct.Struct("<HBBIQ16s16s16sQQQIIQ64s")
REASON = struct.Struct("<IB3x")


def _table():
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        yield byte


TABLE = list(_table())


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ TABLE[(crc ^ byte) & 255]
    return crc ^ 0xFFFFFFFF


def header(kind, flags=0, length=0, handle=0, seq=0, offset=0, span=0, version=VERSION):
    """A header with a right checksum, whatever it announces."""
    raw = HEADER.pack(b"NRD1", kind, flags, version, length, handle, seq, offset, span, 0)
    return raw + struct.pack("<I", crc32c(raw))


def message(kind, body=b"", **fields):
    return header(kind, length=len(body), **fields) + body


def write(offset, body, handle=1, seq=1, **fields):
    fields.setdefault("span", len(body))
    return message(WRITE, body, offset=offset, handle=handle, seq=seq, **fields)


def hello(
    mirror="data", mirror_uuid=b"m" * 16, node="eve", node_uuid=b"n" * 16, instance=b"i" * 16, size=64 << 20,
    chunk=1 << 16, block=512, payload=1 << 20, heartbeat=200, timeout=1000, name_length=None,
):
    mirror, node = mirror.encode(), node.encode()
    name_length = len(mirror) if name_length is None else name_length
    return HELLO_BODY.pack(
        0, name_length, len(node), 0, 0, mirror_uuid, node_uuid, instance, bytes(16), 7, size, 3, 0,
        chunk, block, payload, heartbeat, timeout, 0, mirror, node,
    )


def welcome(session, node="adam", size=64 << 20, block=512, features=0, fresh=True):
    node = node.encode()
    return WELCOME_BODY.pack(
        0, len(node), 0, 2 if fresh else 0, features, b"t" * 16, b"u" * 16, bytes(16), session, size, 0, block,
        1 << 20, 0, node,
    )


def refuse(code, reason):
    """The reason is bytes: a text need not be one."""
    return message(REFUSE, REASON.pack(code, len(reason)) + reason)


class Closed(Exception):
    """The other side ended the connection."""


def receive(conn, length):
    data = b""
    while len(data) < length:
        try:
            piece = conn.recv(length - len(data))
        except ConnectionError:
            piece = b""
        if not piece:
            raise Closed
        data += piece
    return data


def read(conn):
    """The next message: its header's fields and its body."""
    raw = receive(conn, 48)
    magic, kind, flags, version, length, handle, seq, offset, span, _ = HEADER.unpack(raw[:44])
    assert magic == b"NRD1" and version == VERSION and raw[44:] == struct.pack("<I", crc32c(raw[:44])), raw
    return {"kind": KINDS.get(kind, kind), "handle": handle, "seq": seq}, receive(conn, length)


def read_hello(conn):
    """The session of the Hello that comes."""
    fields, body = read(conn)
    assert fields["kind"] == "hello", fields
    return HELLO_BODY.unpack(body[: HELLO_BODY.size])[9]


def reason(body):
    """Code and text of a refusal or a reply."""
    code, length = REASON.unpack(body[: REASON.size])
    return code, body[REASON.size : REASON.size + length].decode()


def connect(address, port=7900, timeout=30):
    conn = socket.create_connection((address, port), timeout)
    conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return conn
