"""What several tests need: the program as they run it, networks, devices, browsers, peers, and enemies."""

from __future__ import annotations

import pkgutil

import pytest

for module in pkgutil.iter_modules(__path__, "support."):  # what they assert is told as in a test
    pytest.register_assert_rewrite(module.name)
