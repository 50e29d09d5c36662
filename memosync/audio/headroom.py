"""How far samples are beyond full scale, without those that damage made of them. Pure: no file, no clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .mixing import Block

_BINS = 64  # for each factor of 2
_OCTAVES = 33  # of full scale: floating point that counts as 32 bits do is 31 of them beyond it
_NEAR = 64  # samples around one that nothing can be as loud as: other bytes there, of which as many as not are so
_FEW, _SHARE = 100, 1 / 20_000  # samples, and of all samples, that are too few to be anything but damage
_CREST = 2  # octaves between those that are enough and the loudest one that is believed


class Headroom:
    """Find the peak of what passes."""

    def __init__(self) -> None:
        import numpy as np

        self._samples = 0
        self._counts = np.zeros(_BINS * _OCTAVES, np.int64)  # of those beyond full scale, by their logarithm

    def feed(self, block: Block) -> None:
        """Take what comes next."""
        import numpy as np

        loud = np.abs(block)
        impossible = (loud >= 2.0**_OCTAVES).any(axis=0)
        if impossible.any():
            loud = loud[:, np.convolve(impossible, np.ones(2 * _NEAR + 1), "same")[: loud.shape[1]] < 0.5]
        loud = loud[loud > 1]
        self._samples += block.size
        if loud.size:
            numbers = (np.log2(loud) * _BINS).astype(np.int64).clip(0, len(self._counts) - 1)
            self._counts += np.bincount(numbers, minlength=len(self._counts))

    @property
    def peak(self) -> float:
        """Give the loudest that is believed, 1 where that is full scale; no more than 0.1 dB too much."""
        louder = self._counts[::-1].cumsum()[::-1]
        enough = (louder >= max(_FEW, self._samples * _SHARE)).nonzero()[0]
        if not enough.size:
            return 1.0
        believed = self._counts[: int(enough[-1]) + _CREST * _BINS].nonzero()[0]
        return float(2 ** ((int(believed[-1]) + 1) / _BINS))
