"""Write a WAV file that sounds a little like somebody speaking: phrases of gliding, voiced syllables, and pauses."""

from __future__ import annotations

import array
import math
import random
import sys
import wave

RATE = 16_000  # Hz


def syllable(chance: random.Random) -> array.array[int]:
    """Make a tone whose pitch glides, coloured by one formant, that fades in and out."""
    length = chance.randint(RATE // 10, RATE // 3)
    pitch, glide, formant = chance.uniform(90, 220), chance.uniform(-0.3, 0.3), chance.uniform(400, 2500)
    weights = [1 / (1 + abs(harmonic * pitch - formant) / 300) for harmonic in range(1, 13)]
    samples = array.array("h")
    phase = 0.0
    for i in range(length):
        phase += 2 * math.pi * pitch * (1 + glide * i / length) / RATE
        tone = sum(weight * math.sin(harmonic * phase) for harmonic, weight in enumerate(weights, 1))
        loudness = math.sin(math.pi * i / length)
        samples.append(int(max(-1, min(1, 0.25 * loudness * (tone + chance.gauss(0, 0.1)))) * 20_000))
    return samples


def main(path: str, seconds: float) -> None:
    chance = random.Random(path)  # the same name gives the same speech
    samples = array.array("h")
    while len(samples) < seconds * RATE:
        for _ in range(chance.randint(4, 14)):
            samples.extend(syllable(chance))
        samples.extend([0] * chance.randint(RATE // 3, RATE))
    with wave.open(path, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(samples[: int(seconds * RATE)].tobytes())


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
