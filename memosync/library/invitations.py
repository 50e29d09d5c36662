"""Invitations: small sealed files that tell a new device the secret of a group.

The key to one is in its link alone. It is served like a memo until a device has come by it, or its time is over.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from .. import files, manifest, sealing
from ..errors import TorrentError
from ..magnet import InfoHash, Magnet
from ..network import LONGEST_TRACKER, MOST_TRACKERS
from ..sealing import KEY, SALT, Seal
from . import heads, keys, known
from .known import MOST_ADDRESSES, Device, Invitation, Known
from .store import Library

LIFETIME = 15 * 60  # seconds
LARGEST = 16_384  # bytes
_SECRET = 32  # bytes
_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What an invitation tells."""

    secret: bytes
    trackers: tuple[str, ...] = ()  # where the devices meet, where these are not the default ones
    addresses: tuple[str, ...] = ()  # of who invites


def invite(library: Library, addresses: Sequence[str]) -> Magnet:
    """Invite one device to the library's group, and give the link of what is then served; LibraryError."""
    told = {
        "version": _VERSION,
        "secret": keys.secret(library).hex(),
        "trackers": list(library.index().meeting),
        "addresses": list(addresses[:MOST_ADDRESSES]),
    }
    seal, sealed = Seal(os.urandom(KEY), os.urandom(SALT)), io.BytesIO()
    sealing.seal(io.BytesIO(manifest.canonical(told)), seal, sealed.write, context=sealing.INVITATION)
    file = heads.describe(sealed.getvalue())
    until = int(library.clock()) + LIFETIME
    with files.as_library_error("keep the invitation"):
        files.make_directory(library.forms)
        files.write(library.form(file.infohash), file.data)
    library.keep_torrent(file.infohash, file.torrent.data)
    new = Invitation(infohash=file.infohash, until=until)
    known.change(library, lambda before: replace(before, invitations=(*before.invitations, new)))
    return Magnet(infohash=file.infohash, key=seal.key)


def open_invitation(data: bytes, key: bytes) -> Told:
    """Open one; TorrentError when it is none, or was altered, WrongKeyError with another key."""
    text = io.BytesIO()
    sealing.unseal(io.BytesIO(data), text.write, key, sealing.INVITATION)
    try:
        table = json.loads(text.getvalue())
        version, secret = table["version"], bytes.fromhex(table["secret"])
        trackers, addresses = _texts(table.get("trackers")), _texts(table.get("addresses"))
    except (ValueError, TypeError, LookupError, RecursionError, AttributeError) as error:
        raise TorrentError("this invitation cannot be read", "memosync sync --invite device makes another") from error
    if version != _VERSION:
        raise TorrentError("this invitation is of a newer version", "update memosync")
    if len(secret) != _SECRET:
        raise TorrentError("this invitation cannot be read", "memosync sync --invite device makes another")
    return Told(
        secret=secret,
        trackers=tuple(url for url in trackers if len(url) <= LONGEST_TRACKER)[:MOST_TRACKERS],
        addresses=addresses[:MOST_ADDRESSES],
    )


def open_now(library: Library) -> list[Invitation]:
    """Give those that are good still."""
    now = library.clock()
    return [one for one in known.read(library).invitations if now <= one.until <= now + LIFETIME]


def end_used(library: Library, rows: Mapping[str, Device]) -> None:
    """End the invitations that a device has come by, and those whose time is over; LibraryError."""
    now = known.read(library)
    good = {one.infohash for one in open_now(library)} - {row.came_by for row in rows.values()}
    over = [one.infohash for one in now.invitations if one.infohash not in good]
    if over:
        end(library, over)


def end(library: Library, infohashes: Sequence[InfoHash]) -> None:
    """End invitations, and take away what was served; LibraryError."""

    def edit(before: Known) -> Known:
        return replace(before, invitations=tuple(one for one in before.invitations if one.infohash not in infohashes))

    known.change(library, edit)
    with files.as_library_error("end the invitation"):
        for infohash in infohashes:
            for path in _files(library, infohash):
                path.unlink(missing_ok=True)


def _files(library: Library, infohash: InfoHash) -> tuple[Path, Path]:
    return library.form(infohash), library.torrent(infohash)


def _texts(found: object) -> tuple[str, ...]:
    return tuple(text for text in found if isinstance(text, str)) if isinstance(found, list) else ()
