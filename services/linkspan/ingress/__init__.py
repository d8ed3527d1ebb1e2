"""Takes messages in from the systems and appends each one to Kafka as an event."""
