"""Accounting: what became of every event, counted from the log."""
