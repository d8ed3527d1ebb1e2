"""Linkspan side by side with what one would otherwise write: ``make bench-smoke``; see docs/performance.md."""
