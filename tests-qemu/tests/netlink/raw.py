# SPDX-License-Identifier: GPL-2.0
"""Sends generic netlink requests byte for byte, right or wrong.

Standard input: one JSON array a line, [COMMAND, ATTRIBUTES IN HEXADECIMAL]. Standard output:
one JSON object a line, {"errno": N, "sentence": TEXT}, with 0 and null where the kernel obeyed.
With the arguments `random SEED COUNT` it sends so many requests of random bytes instead, and
prints how many the kernel took.
"""

import json
import random
import socket
import struct
import sys

GENERIC, EXT_ACK, CAP_ACK, SOL_NETLINK = 16, 11, 10, 270
REQUEST_ACK, ERROR, ACK_TLVS = 5, 2, 0x200

sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, GENERIC)
sock.setsockopt(SOL_NETLINK, EXT_ACK, 1)
sock.setsockopt(SOL_NETLINK, CAP_ACK, 1)
sock.settimeout(30)
sequence = 0


def attribute(kind, payload):
    pad = b"\0" * (-len(payload) % 4)
    return struct.pack("HH", len(payload) + 4, kind) + payload + pad


def attributes(data):
    while len(data) >= 4:
        length, kind = struct.unpack_from("HH", data)
        yield kind, data[4:length]
        data = data[(length + 3) & ~3:]


def request(family, command, payload):
    """The error number and the explanation; replies before the acknowledgement are passed over."""
    global sequence
    sequence += 1
    body = struct.pack("BBH", command, 1, 0) + payload
    sock.send(struct.pack("IHHII", len(body) + 16, family, REQUEST_ACK, sequence, 0) + body)
    reply = None
    while True:
        data = sock.recv(1 << 17)
        while data:
            length, kind, flags, answers, _ = struct.unpack_from("IHHII", data)
            message, data = data[16:length], data[(length + 3) & ~3:]
            if answers != sequence:
                continue
            if kind != ERROR:
                reply = message
                continue
            number = -struct.unpack_from("i", message)[0]
            told = dict(attributes(message[20:])) if flags & ACK_TLVS else {}
            sentence = told.get(1, b"").rstrip(b"\0").decode() or None
            return number, sentence, reply


_, _, found = request(16, 3, attribute(2, b"netraid\0"))
netraid = next(struct.unpack("H", value)[0] for kind, value in attributes(found[4:]) if kind == 1)
if sys.argv[1:2] == ["random"]:
    dice = random.Random(int(sys.argv[2]))
    taken = 0
    for _ in range(int(sys.argv[3])):
        payload = b""
        for _ in range(dice.randrange(5)):
            kind = dice.choice([dice.randrange(1, 22), 20 | 0x8000, dice.randrange(1 << 16)])
            payload += attribute(kind, dice.randbytes(dice.choice([0, 1, 4, 4, 8, 16, 65, 600])))
        cut = dice.choice([len(payload), len(payload), dice.randrange(len(payload) + 1)])
        number, _, _ = request(netraid, dice.randrange(14), payload[:cut])
        taken += number == 0
    print(taken)
else:
    for line in sys.stdin:
        command, payload = json.loads(line)
        number, sentence, _ = request(netraid, command, bytes.fromhex(payload))
        print(json.dumps({"errno": number, "sentence": sentence}))
