"""The checksum of an Ogg page. Pure."""

from __future__ import annotations

CRC = slice(22, 26)  # where it stands in a page (RFC 3533, 6)


def crc(page: bytes | bytearray) -> bytes:
    """Compute that of a page, whatever stands in its place: of polynomial 0x04c11db7, not reflected, begun with 0."""
    crc = 0
    for byte in page[: CRC.start] + bytes(4) + page[CRC.stop :]:
        crc = (crc << 8 & 0xFFFFFFFF) ^ _TABLE[crc >> 24 ^ byte]
    return crc.to_bytes(4, "little")


def _crc_of(byte: int) -> int:
    crc = byte << 24
    for _ in range(8):
        crc = (crc << 1 ^ (0x04C11DB7 if crc >> 31 else 0)) & 0xFFFFFFFF
    return crc


_TABLE = [_crc_of(byte) for byte in range(256)]
