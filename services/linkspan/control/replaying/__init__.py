"""Executing frozen plans: what is asked of the owners, whether the log allows it, and how far they are."""
