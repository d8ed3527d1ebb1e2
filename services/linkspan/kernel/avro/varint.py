"""Whole numbers as Avro writes them: zigzag, seven bits a byte."""

from __future__ import annotations

import struct
from datetime import UTC, datetime, timedelta

_EPOCH, _MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)
_EIGHT = struct.Struct("<Q")
_READ_EIGHT, _WRITE_EIGHT = _EIGHT.unpack_from, _EIGHT.pack


def _bytes_of(number: int) -> bytes:
    coded = (number << 1) ^ (number >> 63)
    made = bytearray()
    while coded & ~0x7F:
        made.append((coded & 0x7F) | 0x80)
        coded >>= 7
    made.append(coded)
    return bytes(made)


#: Of the numbers from 0: most lengths, counts and indexes.
SMALL = [_bytes_of(number) for number in range(4096)]
#: What ends a varint, and two bytes of one that goes on.
_LAST = [bytes((c,)) if c < 0x80 else bytes((c & 0x7F | 0x80, c >> 7)) for c in range(1 << 14)]
_PAIRS = [bytes((c & 0x7F | 0x80, c >> 7 | 0x80)) for c in range(1 << 14)]


def varint(value: int | datetime) -> bytes:
    """A time as microseconds since 1970."""
    number = value if isinstance(value, int) else (value - _EPOCH) // _MICROSECOND
    if 0 <= number < 4096:
        return SMALL[number]
    coded = (number << 1) ^ (number >> 63)
    made = b""
    while coded > 0x3FFF:
        made += _PAIRS[coded & 0x3FFF]
        coded >>= 14
    return made + _LAST[coded]


def time(value: int | datetime) -> bytes:
    """What ``varint`` gives. One of our days has eight bytes: its bits are spread instead of looked up in parts."""
    number = value if isinstance(value, int) else (value - _EPOCH) // _MICROSECOND
    if not 1 << 48 <= number < 1 << 55:
        return varint(number)
    coded = number << 1
    coded = coded & 0x000000000FFFFFFF | (coded & 0x00FFFFFFF0000000) << 4
    coded = coded & 0x00003FFF00003FFF | (coded & 0x0FFFC0000FFFC000) << 2
    coded = coded & 0x007F007F007F007F | (coded & 0x3F803F803F803F80) << 1
    return _WRITE_EIGHT(coded | 0x0080808080808080)


def unread_varint(data: bytes, at: int, first: int) -> tuple[int, int]:
    """The coded number of which ``first`` was read, ``at`` being the next byte, and where it ends; raises ValueError
    for one of more than 64 bits."""
    coded, shift = first & 0x7F, 7
    while shift < 70:  # ten bytes: a longer one would cost the square of its length
        byte = data[at]
        at += 1
        coded |= (byte & 0x7F) << shift
        if byte < 0x80:
            if coded >> 64:
                break
            return coded, at
        shift += 7
    raise ValueError("a number of more than 64 bits")


def unread_time(data: bytes, at: int) -> tuple[int, int]:
    """The number at ``at``, and where it ends. One of eight bytes, as times have, is folded instead of looped over."""
    if at + 8 <= len(data):
        coded = _READ_EIGHT(data, at)[0]
        if coded & 0x8080808080808080 == 0x0080808080808080:
            coded = coded & 0x007F007F007F007F | (coded & 0x7F007F007F007F00) >> 1
            coded = coded & 0x00003FFF00003FFF | (coded & 0x3FFF00003FFF0000) >> 2
            coded = coded & 0x000000000FFFFFFF | (coded & 0x0FFFFFFF00000000) >> 4
            return coded >> 1 ^ -(coded & 1), at + 8
    first = data[at]
    coded, at = unread_varint(data, at + 1, first) if first > 127 else (first, at + 1)
    return coded >> 1 ^ -(coded & 1), at
