"""The channels of a recording mixed to those of a memo: no voice is lost on the way, and none gets louder.

Pure: no file, no clock. A layout that the source states is mixed by the weights of ITU-R BS.775, made to sum to 1,
without the subwoofer; two channels are (L + R) / 2; of a layout that is a guess, a recorder's many tracks, the plain
mean of the channels that carry anything is taken. Where a mix cancels itself out, the loudest channel stands in.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Block = NDArray[np.float32]  # channels x frames, 1.0 is full scale

CARRIES = 10 ** (-60 / 20)  # a channel whose peak is above it carries something
_SILENCE = 10 ** (-70 / 20)  # RMS of which nobody hears that it is gone
_CANCELS = 10 ** (-10 / 10)  # the power that is left of what unrelated channels would give
_FADE = 480  # frames over which one mix becomes another
_HALF = 2**-0.5
_MONO = dict(FC=1.0, FL=_HALF, FR=_HALF, FLC=_HALF, FRC=_HALF, DL=_HALF, DR=_HALF, LFE=0.0, LFE2=0.0)
_LEFT = dict(FL=1.0, FLC=1.0, DL=1.0, FC=_HALF, BL=_HALF, SL=_HALF, BC=0.5, TC=0.5)
_MIRROR = str.maketrans("LR", "RL")


class Mixer:
    """Mix blocks of one recording as they pass."""

    def __init__(
        self, names: Sequence[str], outputs: int, *, patience: int = 0, carrying: Sequence[bool] | None = None
    ) -> None:
        """Prepare for channels of these names (FFmpeg's: FL, LFE), each `""` where the layout is a guess.

        It is mixed to `outputs`, 1 or 2. What a mix becomes is thought over in windows of at least `patience` frames,
        so that blocks of a second are judged before they are mixed and short ones after ten of them. `carrying` says
        which channels of a guess carry anything; where it is not known, those count that did so far.
        """
        import numpy as np

        self.peak = 0.0  # of what came in, until it carries something
        self.standing_in: int | None = None  # the channel, from 0, that stands in for a mix that cancels
        self._names, self._outputs, self._patience = names, outputs, patience
        self._guess = not all(names) and len(names) > 2
        self._fixed = carrying is not None
        self._carrying = np.array(carrying if carrying is not None else [False] * len(names))
        self._plain = self._now = self._weights()
        self._power = np.zeros(len(names))  # of all that came
        self._begin_window()
        self._alone = np.zeros(outputs, bool)  # the outputs whose mix cancels
        self._sound = np.zeros(outputs, int)  # windows since it did
        self._begun = False

    @property
    def wonders(self) -> bool:
        """Tell whether it would be better to know first which channels carry anything."""
        return self._guess and not self._fixed

    def mix(self, block: Block) -> Block:
        """Mix a block; samples that are no numbers are silence."""
        import numpy as np

        power = _power(block)
        if not np.isfinite(power).all():
            block = np.nan_to_num(block, nan=0.0, posinf=0.0, neginf=0.0)
            power = _power(block)
        before = self._now
        self._look(block, power)
        mixed: Block = (self._now @ block).astype(np.float32, copy=False)
        if self._begun and before is not self._now:
            fade = np.linspace(0, 1, min(_FADE, block.shape[1]), dtype=np.float32)
            mixed[:, : len(fade)] *= fade
            mixed[:, : len(fade)] += (before @ block[:, : len(fade)]) * (1 - fade)
        self._begun = True
        return mixed

    def _look(self, block: Block, power: NDArray[np.float64]) -> None:
        """See what the channels carry and what is left of them in the mix, and choose the mix from here on."""
        import numpy as np

        if not block.size:
            return
        wanted = self._guess and not self._fixed
        if wanted or self.peak <= CARRIES:
            peaks = np.maximum(block.max(axis=1), -block.min(axis=1))
            self.peak = max(self.peak, float(peaks.max()))
            if wanted and (peaks > CARRIES)[~self._carrying].any():
                self._carrying |= peaks > CARRIES
                self._plain = self._weights()
                self._choose()
        if len(self._names) == 1:
            return
        self._power += power
        self._channels += power
        mixed = self._plain @ block
        self._mixed += _power(mixed)
        self._frames += block.shape[1]
        if self._frames >= self._patience:
            self._judge()
            self._begin_window()

    def _begin_window(self) -> None:
        import numpy as np

        self._frames = 0
        self._channels, self._mixed = np.zeros(len(self._names)), np.zeros(self._outputs)

    def _judge(self) -> None:
        """Compare the power of each mix with what its channels would give if they had nothing to do with each other."""
        import numpy as np

        left_out = np.where((self._plain == 0).all(axis=0), 1 / len(self._names), 0)
        unrelated = (self._plain + left_out) ** 2 @ self._channels
        heard = unrelated > _SILENCE**2 * self._frames
        cancels = heard & (self._mixed < unrelated * _CANCELS)
        self._sound = np.where(cancels, 0, self._sound + heard)
        alone = (self._alone | cancels) & (self._sound < 2)
        if (alone != self._alone).any():
            self._alone = alone
            self.standing_in = int(self._power.argmax()) if alone.any() else None
            self._choose()

    def _choose(self) -> None:
        import numpy as np

        self._now = self._plain.copy()
        if self.standing_in is not None:
            self._now[self._alone] = np.eye(len(self._names), dtype=np.float32)[self.standing_in]

    def _weights(self) -> Block:
        """Give the weight of each channel in each output."""
        import numpy as np

        count = len(self._names)
        if self._guess:
            carry = self._carrying if self._carrying.any() else np.ones(count, bool)
            rows = [carry / carry.sum()] * self._outputs
        elif self._outputs == 1:
            rows = [[_MONO.get(name, 0.5) for name in self._names] if count > 2 else [1] * count]
        elif count <= 2:
            rows = [[1], [1]] if count == 1 else [[1, 0], [0, 1]]
        else:
            rows = [[_LEFT.get(name, 0) for name in names] for names in (self._names, self._mirrored())]
        weights = np.array(rows, np.float32)
        most = weights.sum(axis=1).max()
        return weights / most if most else np.full((self._outputs, count), 1 / count, np.float32)

    def _mirrored(self) -> list[str]:
        return [name if name.startswith("LFE") else name.translate(_MIRROR) for name in self._names]


def _power(block: Block) -> NDArray[np.float64]:
    """Give the sum of squares of each row, which is no number where one in the row is none."""
    import numpy as np

    rows = np.ascontiguousarray(block)
    return np.array([np.dot(row, row) for row in rows], np.float64)
