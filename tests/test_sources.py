"""What sources of peers answered: a value, and the one place where people are told of it."""

from __future__ import annotations

import pytest

from memosync.network import Network
from memosync.torrent.sources import Answer, Sources, describe, describe_all


@pytest.mark.parametrize(
    ("source", "answer", "text"),
    [
        ("udp://t.example", Answer(), "no answer yet"),
        ("udp://t.example", Answer(peers=0), "0 peers"),
        ("udp://t.example", Answer(peers=1), "1 peer"),
        ("DHT", Answer(peers=0), "nobody has it so far"),
        ("DHT", Answer(peers=3), "3 peers"),
        ("10.1.2.3:7000", Answer(fault="Connection refused"), "Connection refused"),
    ],
)
def test_an_answer_is_worded(source: str, answer: Answer, text: str) -> None:
    assert text == describe(source, answer)


def test_only_who_has_said_nothing_is_waited_for() -> None:
    assert Answer().pending
    assert not Answer(peers=0).pending
    assert not Answer(fault="timed out").pending


def test_a_tracker_is_named_without_its_path_and_where_there_is_no_source_that_is_said() -> None:
    sources = Sources(Network.PUBLIC, trackers=["http://t.example/secret/announce"], peers=[], tracker_of=str)
    alone = Sources(Network.LOOPBACK, trackers=[], peers=[("127.0.0.1", 7000)], tracker_of=str)

    assert describe_all(sources.answers()) == (
        "http://t.example: no answer yet; DHT: no answer yet; LAN: nobody answered; addresses in the link: none to call"
    )
    assert describe_all(alone.answers()) == "trackers: none to ask; DHT: off; LAN: off; 127.0.0.1:7000: no answer yet"
