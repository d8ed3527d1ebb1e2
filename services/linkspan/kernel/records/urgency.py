"""How urgent a message is: its priority as a number, the higher the sooner."""

from __future__ import annotations

LOW, NORMAL, HIGH, CRITICAL = range(4)
