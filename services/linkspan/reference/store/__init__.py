"""The durable SQLite store that each reference system keeps for itself."""

from linkspan.reference.store.sqlite import Store, Work

__all__ = ["Store", "Work"]
