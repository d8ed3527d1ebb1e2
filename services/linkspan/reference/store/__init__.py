"""The durable SQLite store that each reference system keeps for itself."""

from linkspan.reference.store.sqlite import LARGEST, Store, Work

__all__ = ["LARGEST", "Store", "Work"]
