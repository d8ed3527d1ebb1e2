"""A real Apache Kafka on this machine, one KRaft node, without Docker; imports nothing else of Linkspan."""

from linkspan.broker.embedded import EmbeddedKafka
from linkspan.broker.errors import BrokerError

__all__ = ["BrokerError", "EmbeddedKafka"]
