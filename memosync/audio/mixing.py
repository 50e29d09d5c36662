"""The channels of a recording mixed to those of a memo: no voice is lost on the way, and none gets louder.

Pure: no file, no clock. A layout that the source states is mixed by the weights of ITU-R BS.775, made to sum to 1,
without the subwoofer; two channels are (L + R) / 2; of a layout that is a guess, a recorder's many tracks, the plain
mean of the channels that carry anything is taken. Where a mix cancels itself out, the loudest channel stands in, and
where others have something of their own, those of opposite phase are inverted. That is judged by what makes speech
understood, around 2 kHz: a hum that all channels have alike must not hide that the voice has gone.
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
_OWN, _HEARD = 10 ** (-10 / 10), 10 ** (-20 / 10)  # power beside the loudest channel: of a channel, of the loudest
_OPPOSITE = -0.5  # correlation
_SPEECH = 4_000  # Hz: twice what counts most in judging, and where nothing does
_FADE = 480  # frames over which one mix becomes another
_HALF = 2**-0.5
# What FFmpeg mixes by, too; but of float samples it lets the weights sum to 2.4 (3.0, quad) or more: 7.7 dB louder for
# one voice on all channels, and clipped.
_MONO = dict(FC=1.0, FL=_HALF, FR=_HALF, FLC=_HALF, FRC=_HALF, DL=_HALF, DR=_HALF, LFE=0.0, LFE2=0.0)
_LEFT = dict(FL=1.0, FLC=1.0, DL=1.0, FC=_HALF, BL=_HALF, SL=_HALF, BC=0.5, TC=0.5)
_MIRROR = str.maketrans("LR", "RL")


class Mixer:
    """Mix blocks of one recording as they pass."""

    def __init__(
        self,
        names: Sequence[str],
        outputs: int,
        *,
        rate: int = 48_000,  # Hz
        patience: int = 0,
        carrying: Sequence[bool] | None = None,
    ) -> None:
        """Prepare for channels of these names (FFmpeg's: FL, LFE), each `""` where the layout is a guess.

        It is mixed to `outputs`, 1 or 2. What a mix becomes is thought over in windows of at least `patience` frames,
        so that blocks of a second are judged before they are mixed and short ones after ten of them. `carrying` says
        which channels of a guess carry anything; where it is not known, those count that did so far.
        """
        import numpy as np

        self.peak = 0.0  # of what came in, until it carries something
        self.standing_in: int | None = None  # the channel, from 0, that stands in for a mix that cancels
        self.channels = len(names)
        self._names, self._outputs, self._patience = names, outputs, patience
        self._lag = max(1, rate // _SPEECH)
        self._guess = not all(names) and len(names) > 2
        self._fixed = carrying is not None
        self._carrying = np.array(carrying if carrying is not None else [False] * len(names))
        self._plain = self._now = self._weights()
        self._power, self._all = np.zeros(len(names)), 0  # of all that came, and how many frames that were
        self._begin_window()
        self._cancelling = self._gram  # of the last window that did
        self._signs: NDArray[np.float32] | None = None  # where channels are inverted: 1 and -1
        self._alone = np.zeros(outputs, bool)  # the outputs whose mix cancels
        self._sound = np.zeros(outputs, int)  # windows since it did that were about as loud
        self._lost = np.zeros(outputs)  # the power, a frame, of the last window that did
        self._begun = False

    @property
    def wonders(self) -> bool:
        """Tell whether it would be better to know first which channels carry anything."""
        return self._guess and not self._fixed

    @property
    def inverted(self) -> tuple[int, ...]:
        """Give the channels, from 0, that are mixed inverted because they would cancel others."""
        return () if self._signs is None else tuple(int(number) for number in (self._signs < 0).nonzero()[0])

    def mix(self, block: Block) -> Block:
        """Mix a block; samples that are no numbers are silence."""
        import numpy as np

        with np.errstate(over="ignore", invalid="ignore"):  # which is seen to
            gram = self._gram_of(block)
        if not np.isfinite(gram).all():
            block = np.nan_to_num(block, nan=0.0, posinf=0.0, neginf=0.0)
            gram = self._gram_of(block.astype(np.float64))
        before = self._now
        self._look(block, gram)
        mixed: Block = (
            self._now * block if self.channels == 1 else self._now @ block
        )  # the same, in a tenth of the time
        mixed = mixed.astype(np.float32, copy=False)
        if self._begun and before is not self._now:
            fade = np.linspace(0, 1, min(_FADE, block.shape[1]), dtype=np.float32)
            mixed[:, : len(fade)] *= fade
            mixed[:, : len(fade)] += (before @ block[:, : len(fade)]) * (1 - fade)
        self._begun = True
        return mixed

    def _gram_of(self, block: Block | NDArray[np.float64]) -> NDArray[np.float64]:
        """Give the sums of products of the channels as far as speech goes; of one channel any will do."""
        import numpy as np

        if self.channels > 1:
            for _ in range(2):  # 60 Hz are 50 dB below 2 kHz then, and white noise 4
                if block.shape[1] > self._lag:
                    block = block[:, self._lag :] - block[:, : -self._lag]
        return (block @ block.T).astype(np.float64)

    def _look(self, block: Block, gram: NDArray[np.float64]) -> None:
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
        self._power += gram.diagonal()
        self._gram += gram
        self._all += block.shape[1]
        self._frames += block.shape[1]
        if self._frames >= self._patience:
            self._judge()
            self._begin_window()

    def _begin_window(self) -> None:
        import numpy as np

        self._frames = 0
        self._gram = np.zeros((len(self._names), len(self._names)))  # the sums of products of the channels

    def _judge(self) -> None:
        """Compare the power of each mix with what its channels would give if they had nothing to do with each other."""
        import numpy as np

        left_out = np.where((self._plain == 0).all(axis=0), 1 / len(self._names), 0)
        unrelated = (self._plain + left_out) ** 2 @ self._gram.diagonal()
        heard = unrelated > _SILENCE**2 * self._frames
        cancels = heard & (self._power_of(self._plain) < unrelated * _CANCELS)
        self._lost = np.where(cancels, unrelated / self._frames, self._lost)
        heard &= unrelated > self._lost * self._frames * _HEARD  # what is between two words proves nothing
        self._sound = np.where(cancels, 0, self._sound + heard)
        alone = (self._alone | cancels) & (self._sound < 2)
        if cancels.any():
            self._cancelling = self._gram
        before = self._signs
        if self._signs is not None:  # which harms nothing until these channels agree
            agree = heard & (self._power_of(self._plain * self._signs) < unrelated * _CANCELS)
            self._signs = None if (agree & self._alone).any() else self._signs
            alone = cancels if self._signs is None else self._alone | cancels
        loudest = int(self._power.argmax()) if self.standing_in is None else self.standing_in
        if alone.any() and self._signs is None and self._has_more(loudest):
            self._signs = self._opposite()
        if (alone != self._alone).any() or self._signs is not before:
            self._alone = alone
            self.standing_in = loudest if alone.any() and self._signs is None else None
            self._choose()

    def _power_of(self, weights: Block) -> NDArray[np.float64]:
        """Give the power of a mix of this window."""
        power: NDArray[np.float64] = ((weights @ self._gram) * weights).sum(axis=1)
        return power

    def _has_more(self, loudest: int) -> bool:
        """Tell whether another channel has something in this window that is not in the loudest one."""
        import numpy as np

        own = self._gram.diagonal()
        more = own - self._gram[loudest] ** 2 / max(own[loudest], 1e-30)
        least = self._frames * max(_SILENCE**2, self._power[loudest] / self._all * _HEARD)
        is_mixed = (self._plain != 0).any(axis=0)
        return bool((is_mixed & (more > np.maximum(own * _OWN, least))).any())

    def _opposite(self) -> NDArray[np.float32] | None:
        """Find which channels were of opposite phase to the sum of the louder ones when the mix cancelled."""
        import numpy as np

        gram, signs = self._cancelling, np.zeros(len(self._names), np.float32)
        for number in np.argsort(-gram.diagonal(), kind="stable"):
            both = (signs @ gram @ signs) * gram[number, number]
            is_opposite = both > 0 and gram[number] @ signs < _OPPOSITE * both**0.5
            signs[number] = -1 if is_opposite else 1
        return signs if (signs < 0).any() else None

    def _choose(self) -> None:
        import numpy as np

        self._now = self._plain.copy()
        if self._signs is not None:
            self._now[self._alone] *= self._signs
        elif self.standing_in is not None:
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
