"""The archive: what topics had, in segments that never change, for longer than Kafka keeps it."""
