"""What a person sees: answers, the conversation, and what is redrawn in place."""

from __future__ import annotations
