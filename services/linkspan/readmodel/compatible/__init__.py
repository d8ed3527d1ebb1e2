"""Whether this version fits what stands in Kafka: asked before an upgrade, and before a rollback."""
