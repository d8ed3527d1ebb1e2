"""How our processes talk to Kafka."""
