"""What became of every message: read from Kafka, or from the ledger."""
