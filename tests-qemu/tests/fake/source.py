# SPDX-License-Identifier: GPL-2.0
"""Sources that are none, or bad ones, one after the other, in the order of the arguments.

Arguments: ADDRESS IDENTITIES PART..., the identities being those of a real source as JSON. Prints
one JSON object a line: {"part": NAME, "end": HOW, ...}.
"""

import json
import random
import socket
import struct
import sys
import time

import wire

ADDRESS = sys.argv[1]
IDS = {key: bytes.fromhex(value.replace("-", "")) for key, value in json.loads(sys.argv[2]).items()}
SIZE = 64 << 20
#: Where the one lawful write of a part goes.
LAWFUL = 1 << 20


def greeting(**changes):
    return wire.message(wire.HELLO, wire.hello(**{**IDS, **changes}))


def ending(conn):
    """What comes until the other side ends the connection."""
    seen = []
    try:
        while True:
            fields, body = wire.read(conn)
            if fields["kind"] == "refuse":
                code, text = wire.reason(body)
                return {"end": "refused", "code": code, "reason": text}
            if fields["kind"] == "ack":
                seen += [list(ack) for ack in struct.iter_unpack("<IIQ", body)]
            elif fields["kind"] != "ping":
                seen.append(fields["kind"])
    except wire.Closed:
        return {"end": "closed", "seen": seen}
    except socket.timeout:
        return {"end": "open", "seen": seen}


def say(data):
    """A connection on which this is said first."""
    conn = wire.connect(ADDRESS)
    conn.sendall(data)
    return ending(conn)


# Before the greeting.


def noise():
    return say(random.Random(1).randbytes(4096))


def http():
    return say(b"GET / HTTP/1.1\r\nHost: adam:7900\r\nUser-Agent: curl/8\r\nAccept: */*\r\n\r\n")


def truncated():
    conn = wire.connect(ADDRESS)
    conn.sendall(greeting()[:100])
    conn.shutdown(socket.SHUT_WR)
    return ending(conn)


def huge():
    return say(wire.header(wire.HELLO, length=(1 << 32) - 1))


def damaged():
    good = bytearray(greeting())
    good[47] ^= 1
    return say(bytes(good))


def version():
    body = wire.hello(**IDS)
    return say(wire.header(wire.HELLO, length=len(body), version=2) + body)


def write_first():
    return say(wire.write(LAWFUL, b"x" * 4096))


def name_length():
    return say(greeting(name_length=255))


def escape():
    return say(greeting(node="\x1b[2J"))


# Greetings that make no sense, or are for somebody else.


def no_identity():
    return say(greeting(mirror_uuid=bytes(16)))


def no_instance():
    return say(greeting(instance=bytes(16)))


def bad_name():
    return say(greeting(mirror="../data"))


def no_size():
    return say(greeting(size=0))


def odd_size():
    return say(greeting(size=SIZE - 1))


def odd_chunk():
    return say(greeting(chunk=5000))


def odd_block():
    return say(greeting(block=513))


def never_beats():
    return say(greeting(heartbeat=0))


def tiny_payload():
    return say(greeting(payload=0))


def other_name():
    return say(greeting(mirror="home"))


def other_mirror():
    return say(greeting(mirror_uuid=b"o" * 16))


def too_large():
    return say(greeting(size=SIZE + 512))


def other_machine():
    return say(greeting(node="abel", node_uuid=b"a" * 16))


# After the greeting.


def agreed(**changes):
    """A connection the target has accepted."""
    conn = wire.connect(ADDRESS)
    conn.sendall(greeting(**changes))
    fields, body = wire.read(conn)
    assert fields["kind"] == "welcome", (fields, body)
    return conn


def after(data):
    conn = agreed()
    conn.sendall(data)
    return ending(conn)


def small_mirror():
    """A mirror half as large: what lies behind its end is out of bounds."""
    conn = agreed(size=SIZE // 2)
    conn.sendall(wire.write(SIZE // 2, b"x" * 512))
    return ending(conn)


def beyond_end():
    return after(wire.write(SIZE - 512, b"x" * 4096))


def wraps_around():
    return after(wire.header(wire.ZEROES, offset=(1 << 64) - 512, span=4096))


def discard_beyond():
    return after(wire.header(wire.DISCARD, offset=512, span=SIZE))


def huge_write():
    return after(wire.header(wire.WRITE, length=(1 << 32) - 512, span=(1 << 32) - 512))


def long_span():
    return after(wire.header(wire.WRITE, length=512, span=1 << 20) + b"x" * 512)


def unaligned():
    return after(wire.write(100, b"x" * 512))


def empty_write():
    return after(wire.header(wire.WRITE))


def bad_flags():
    return after(wire.message(wire.FLUSH, flags=0x80))


def acknowledges():
    return after(wire.message(wire.ACK, bytes(16)))


def hello_again():
    return after(greeting())


def reads():
    return after(wire.header(wire.READ, span=4096))


def unknown_kind():
    return after(wire.header(200))


def half_a_write():
    return after(wire.write(2 * LAWFUL, b"x" * 65536)[: 48 + 32768])


def goes_silent():
    return after(b"")


def flood():
    """Any number of pings, then a write that is as good as any other, and a farewell."""
    pings = wire.message(wire.PING) * 5000
    lawful = wire.write(LAWFUL, b"L" * 4096, handle=77, seq=5)
    conn = agreed()
    conn.sendall(pings + lawful)
    fields, body = {}, b""
    while fields.get("kind") != "ack":
        fields, body = wire.read(conn)
    conn.sendall(wire.message(wire.BYE))
    return {**ending(conn), "ack": list(struct.unpack("<IIQ", body))}


# Many, or slow.


def drip():
    """One byte of a right greeting at a time; tells before the second that it has begun."""
    conn = wire.connect(ADDRESS)
    data, began = greeting(), time.monotonic()
    conn.sendall(data[:1])
    print(json.dumps({"part": "drip", "end": "not yet"}), flush=True)
    try:
        for byte in data[1:]:
            time.sleep(0.1)
            conn.sendall(bytes([byte]))
    except ConnectionError:
        return {"end": "closed", "ms": int((time.monotonic() - began) * 1000)}
    return ending(conn)


def crowd():
    """Fourteen at once: most talk nonsense, two say nothing for as long as they are let."""
    conns = [wire.connect(ADDRESS) for _ in range(14)]
    for number, conn in enumerate(conns):
        if number not in (3, 9):
            conn.sendall(random.Random(number).randbytes(100))
    print(json.dumps({"part": "crowd", "end": "not yet"}), flush=True)
    return {"end": "crowd", "ends": sorted({ending(conn)["end"] for conn in conns})}


for part in sys.argv[3:]:
    print(json.dumps({"part": part, **globals()[part]()}), flush=True)
