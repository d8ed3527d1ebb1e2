"""Linkspan side by side with what one would otherwise write: ``make bench-smoke``; see docs/performance.md."""

import os

# What is measured runs on this machine alone.
os.environ.setdefault("LINKSPAN_PLAIN_TEXT", "development")
