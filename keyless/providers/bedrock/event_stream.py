"""Amazon's binary event stream (application/vnd.amazon.eventstream): the framing of Bedrock's streams.

A message is a prelude (total length and length of the headers, each 4 bytes, and a CRC-32 of these 8), the headers, the
payload, and a CRC-32 of all before it; numbers are big-endian. A header is the length of its name in a byte, the name, its
type in a byte (7: a string) and the value, after its length in two bytes.
Source: https://smithy.io/2.0/aws/amazon-eventstream.html
"""

from __future__ import annotations

import struct
from zlib import crc32

MEDIA_TYPE = "application/vnd.amazon.eventstream"
_STRING = 7
_FRAME = 16
"""Bytes of a message beside headers and payload: two lengths and two checksums."""


def encode(headers: dict[str, str], payload: bytes) -> bytes:
    """One message."""
    head = b"".join(_header(name, value) for name, value in headers.items())
    prelude = struct.pack("!II", len(head) + len(payload) + _FRAME, len(head))
    message = prelude + struct.pack("!I", crc32(prelude)) + head + payload
    return message + struct.pack("!I", crc32(message))


def event(kind: str, payload: bytes) -> bytes:
    """A message that carries the event ``kind`` as JSON."""
    headers = {":event-type": kind, ":content-type": "application/json", ":message-type": "event"}
    return encode(headers, payload)


def _header(name: str, value: str) -> bytes:
    raw, text = name.encode(), value.encode()
    return struct.pack("!B", len(raw)) + raw + struct.pack("!BH", _STRING, len(text)) + text
