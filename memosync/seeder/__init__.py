"""The seeder: the process that serves what the index says, in the foreground or kept alive in the background.

What it says of itself stands in `seeder.toml`; whoever holds `seeder.lock` is it. The detached process is a keeper
(`keeper`), which runs the ordinary `seed` (`run`) as its child and starts it again when it dies; others talk to it
through `client`, and by nothing but files and signals.
"""

from __future__ import annotations
