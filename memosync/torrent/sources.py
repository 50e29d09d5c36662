"""The sources of peers of one torrent, and what each of them answered: a value, worded for people in one place.

A source is a tracker (BEP 3, BEP 15), the DHT (BEP 5), local discovery (BEP 14), or a peer's address in the link.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ..network import Network
from ..quantities import format_count
from .session import PAUSED, fault_of, is_own

if TYPE_CHECKING:
    import libtorrent as lt

DHT = "DHT"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a source of peers answered last."""

    peers: int | None = None  # how many it named; None when it has not answered, or there was a fault
    fault: str = ""  # what went wrong, or why it is not asked

    @property
    def pending(self) -> bool:
        return self.peers is None and not self.fault


_OFF = Answer(fault="off")
_NO_TRACKER = Answer(fault="none to ask")
_NO_ADDRESS = Answer(fault="none to call")
_NOBODY_NEAR = Answer(fault="nobody answered")  # libtorrent tells nothing of local discovery while nobody does


def describe(source: str, answer: Answer) -> str:
    """Word an answer for people."""
    if answer.fault:
        return answer.fault
    if answer.peers is None:
        return "no answer yet"
    if source == DHT and not answer.peers:
        return "nobody has it so far"
    return format_count(answer.peers, "peer")


def describe_all(answers: Mapping[str, Answer]) -> str:
    """Word the answers of all sources for people, in one line."""
    return "; ".join(f"{source}: {describe(source, answer)}" for source, answer in answers.items())


class Sources:
    """The sources of peers of one fetch."""

    def __init__(
        self,
        network: Network,
        *,
        trackers: Iterable[str],
        peers: Iterable[tuple[str, int]],  # addresses in the link that may be connected to
        tracker_of: Callable[[str], str],  # of the URL that libtorrent knows
    ) -> None:
        self._network = network
        self._trackers = dict.fromkeys(trackers, Answer())
        self._peers = dict.fromkeys(peers, Answer())
        self._dht = Answer() if network is Network.PUBLIC else _OFF
        self._tracker_of = tracker_of

    def handle_alert(self, alert: lt.alert) -> None:
        """Record the answer that an alert tells of."""
        import libtorrent as lt

        match alert:
            case lt.dht_reply_alert():
                self._dht = Answer(peers=alert.num_peers)
            case lt.tracker_reply_alert():
                self._trackers[self._tracker_of(alert.tracker_url())] = Answer(peers=alert.num_peers)
            case lt.tracker_error_alert():
                if fault := fault_of(alert):
                    self._trackers[self._tracker_of(alert.tracker_url())] = Answer(fault=fault)
            case lt.session_stats_alert():  # of a look-up in vain there is no alert
                if self._dht.pending and alert.values["dht.dht_nodes"]:
                    self._dht = Answer(peers=0)
            case lt.peer_connect_alert():
                if alert.endpoint in self._peers:
                    self._peers[alert.endpoint] = Answer(fault="it gives nothing")
            case lt.peer_disconnected_alert():  # not posted when we turn away one that breaks the protocol
                if alert.endpoint in self._peers:
                    silent = is_own(alert.error, PAUSED)  # see `download`
                    fault = "it does not say what it has" if silent else alert.error.message()
                    self._peers[alert.endpoint] = Answer(fault=fault)

    @property
    def need_statistics(self) -> bool:
        """Tell whether the session's statistics would say more."""
        return self._dht.pending

    def answers(self) -> dict[str, Answer]:
        """Give the last answer of each source, by its name for people."""
        answers = {_name(url): answer for url, answer in self._trackers.items()} or {"trackers": _NO_TRACKER}
        answers[DHT] = self._dht
        answers["LAN"] = _NOBODY_NEAR if self._network is not Network.LOOPBACK else _OFF
        answers |= {f"{address}:{port}": answer for (address, port), answer in self._peers.items()}
        return answers if self._peers else {**answers, "addresses in the link": _NO_ADDRESS}


def _name(tracker: str) -> str:
    """Give a tracker's URL without its path: that is the same for most, and a secret for some."""
    parts = urlsplit(tracker)
    return f"{parts.scheme}://{parts.netloc}"
