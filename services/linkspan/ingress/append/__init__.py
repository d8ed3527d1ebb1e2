"""From an encoded event to Kafka's acknowledgement."""
