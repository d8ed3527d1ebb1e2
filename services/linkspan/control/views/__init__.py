"""Answers of the control API that are read from Kafka or from the ledger: one class for each group of calls."""
