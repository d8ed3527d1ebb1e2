"""Puts the state of partitions right after Kafka was restored from a mirror or a copy (docs/decisions/0020)."""
