"""Elements: what Matroska, and so WebM, is made of (EBML, RFC 8794)."""

from __future__ import annotations

WIDTHS = [9 - first.bit_length() for first in range(256)]  # bytes of a name or a size that begins so (RFC 8794, 4)


class Nonsense(Exception):
    """This is damaged, cut, or written as few do: let FFmpeg see to it."""


def whole(data: bytes) -> int:
    """Read a number."""
    return int.from_bytes(data[:8], "big")


def children(data: bytes) -> dict[int, bytes]:
    """Give what is in the body of an element by its name, the last of each; Nonsense as `each`."""
    return dict(each(data))


def each(data: bytes) -> list[tuple[int, bytes]]:
    """Split the body of an element into what is in it; Nonsense where it ends too late."""
    found: list[tuple[int, bytes]] = []
    at = 0
    while at < len(data):
        length = WIDTHS[data[at]]
        body = at + length
        width = WIDTHS[data[body]] if body < len(data) else 9
        if length > 4 or width > 8 or body + width > len(data):
            raise Nonsense
        size = int.from_bytes(data[body : body + width], "big") & (1 << 7 * width) - 1
        end = body + width + size
        if end > len(data):
            raise Nonsense
        found.append((int.from_bytes(data[at:body], "big"), data[body + width : end]))
        at = end
    return found
