"""Where a session listens, among the addresses that this machine has now."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ..network import Address, Local, Network, parse_address, reachable_at
from .routes import Changes, own_addresses
from .session import listen_anew

if TYPE_CHECKING:
    import libtorrent as lt

_SOONEST, _LATEST = 0.5, 60.0  # seconds until it is looked whether every address is listened on
_SETTLING = 1.0  # seconds


class Listening:
    """Goes along with this machine's networks, and says at which of its addresses a session is reached."""

    def __init__(self, session: lt.session, network: Network) -> None:
        self._session, self._network = session, network
        self._listened: dict[int, dict[Address, None]] = {}  # ordered sets, by port; what is gone stays in them
        self._changes = Changes()
        self._own: list[Local] = []
        self._at: dict[int, dict[Address, bool]] = {}  # by port, until something changes; see `with_routes`
        self._changed = 0.0  # when the networks last did
        self._is_new = False  # that, and libtorrent was not told
        self._has_moved = False  # other addresses, or a cable, came by it
        self._pause = _SOONEST
        self._again = 0.0  # when to look whether every address is listened on

    def poll(self) -> bool:
        """Look whether anything has changed, at no cost where it has not.

        Tell, once that has settled, whether this machine has other addresses by it, or a cable again: who was not to be
        reached may be now.
        """
        now = time.monotonic()
        if self._changes.seen():
            own = own_addresses()
            self._has_moved |= own != self._own
            self._own = own
            self._at.clear()
            self._pause, self._again = _SOONEST, now + _SOONEST
            self._changed, self._is_new = now, True
        elif self._is_new and self.is_settled:
            self._is_new = False
            # 2.1.1 decides when an address comes whether trackers are reached from it, and its routes come later
            listen_anew(self._session, self._network)
            has_moved, self._has_moved = self._has_moved, False
            return has_moved
        elif now > self._again:
            self._pause = min(2 * self._pause, _LATEST)
            self._again = now + self._pause
            self._listen_everywhere()
        return False

    def handle_alert(self, alert: lt.listen_succeeded_alert) -> None:
        """Note where the session listens: on another port where the one that was wanted is taken."""
        import libtorrent as lt

        address = parse_address(alert.address)
        if address and alert.socket_type == lt.socket_type_t.tcp:
            self._listened.setdefault(alert.port, {})[address] = None
            self._at.pop(alert.port, None)

    @property
    def is_settled(self) -> bool:
        """Tell whether the networks have not changed for a moment: a new address comes before its routes."""
        return time.monotonic() - self._changed > _SETTLING

    def at(self, port: int) -> list[Address]:
        """Give the addresses of this machine that are listened on now at a port, the best first."""
        return list(self.with_routes(port))

    def with_routes(self, port: int) -> dict[Address, bool]:
        """Give the same, each with whether the default route leads there."""
        if port not in self._at:
            listened = self._listened.get(port, {})
            # where the kernel does not say, all are there still
            own = self._own or [Local(address=address) for address in listened]
            found = reachable_at([local for local in own if local.address in listened], self._network)
            routed = {local.address: local.metric is not None for local in self._own}
            self._at[port] = {address: routed.get(address, True) for address in found}
        return self._at[port]

    def _listen_everywhere(self) -> None:
        """Have libtorrent look again: 2.1.1 listens nowhere that had no cable when it began."""
        listened = {address for addresses in self._listened.values() for address in addresses}
        if self._network is not Network.LOOPBACK and set(reachable_at(self._own, self._network)) - listened:
            listen_anew(self._session, self._network)
