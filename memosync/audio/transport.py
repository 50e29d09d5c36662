"""MPEG-TS (ISO/IEC 13818-1) whose tracks change: where another file begins behind the first, or a recorder begins anew.

FFmpeg goes on with the tracks that it saw first, and hears nothing of others.
"""

from __future__ import annotations

from .id3 import Peek

_SIZES = {188: 0, 192: 4}  # bytes of a packet, of which cameras' begin with so many of their own
_ENOUGH = 5  # packets, one behind the other
_PICTURES = {0x01, 0x02, 0x10, 0x1B, 0x20, 0x24, 0x42, 0xD1, 0xEA}  # stream types (table 2-34, and SMPTE's)


def packet_size(peek: Peek) -> int:
    """Give the bytes of a packet of what begins like MPEG-TS, 0 for anything else."""
    for size, at in _SIZES.items():
        head = peek(0, _ENOUGH * size)
        if head[at::size] == b"\x47" * _ENOUGH:
            return size
    return 0


class Tracks:
    """Follow what is said of the tracks of the first program."""

    def __init__(self, size: int) -> None:
        """Begin with packets of so many bytes."""
        self._size, self._sync = size, _SIZES[size]
        self._pid, self._tracks = -1, frozenset[tuple[int, int]]()  # of the program; its tracks, by type and PID
        self._at = 0  # bytes that were looked at
        self.named = 0  # offset of the last packet that says where programs are described
        self.name = b""  # and that packet

    def change(self, data: bytes) -> int | None:
        """Give the offset of the next packet that says that the tracks have become others; None where none is in it.

        What is behind that packet is not looked at.
        """
        import numpy as np

        shift = self._shift(data)
        whole = (len(data) - shift) // self._size
        packets = np.frombuffer(data, "u1", whole * self._size, shift).reshape(whole, self._size)[:, self._sync :]
        begins = (packets[:, 0] == 0x47) & (packets[:, 1] & 0x40 > 0) & (packets[:, 3] & 0x30 == 0x10)
        tables = begins & (packets[:, 4] == 0) & (packets[:, 5] & 0xFD == 0) & (packets[:, 6] & 0xF0 == 0xB0)
        for number in tables.nonzero()[0]:
            packet = bytes(packets[number])
            at, pid = shift + int(number) * self._size, int.from_bytes(packet[1:3], "big") & 0x1FFF
            table = packet[5 : 8 + (int.from_bytes(packet[6:8], "big") & 0xFFF) - 4]
            if pid == 0 and table[0] == 0:
                self.named, self.name = self._at + at, data[at : at + self._size]
                self._pid = _first_program(table)
            elif pid == self._pid and table[0] == 2 and (tracks := _tracks(table)) != self._tracks:
                before, self._tracks = self._tracks, tracks
                if before:
                    changed = self._at + at
                    self._at = changed + self._size
                    return changed
        self._at += len(data)
        return None

    def _shift(self, data: bytes) -> int:
        """Find where packets begin, behind damage."""
        for shift in range(min(self._size, len(data))):
            marks = data[shift + self._sync :: self._size]
            if marks and marks.count(0x47) > len(marks) // 2:
                return shift
        return 0


def _first_program(table: bytes) -> int:
    """Give the PID of what describes the first program (2.4.4.3), -1 where there is none."""
    entries = (table[at : at + 4] for at in range(8, len(table) - 3, 4))
    return next((int.from_bytes(entry[2:], "big") & 0x1FFF for entry in entries if any(entry[:2])), -1)


def _tracks(table: bytes) -> frozenset[tuple[int, int]]:
    """Give the type and the PID of each track that is no picture (2.4.4.8)."""
    found, at = set[tuple[int, int]](), 12 + (int.from_bytes(table[10:12], "big") & 0xFFF)
    while at + 5 <= len(table):
        found.add((table[at], int.from_bytes(table[at + 1 : at + 3], "big") & 0x1FFF))
        at += 5 + (int.from_bytes(table[at + 3 : at + 5], "big") & 0xFFF)
    return frozenset(track for track in found if track[0] not in _PICTURES)
