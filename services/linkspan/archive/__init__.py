"""Keeps what topics had for longer than Kafka does, and brings it back: run, list, verify, restore."""
