"""From a message as it came in to the payload that leaves: named steps, JSONata, value tables, the schema check."""

from linkspan.transform.as_then import NotAsThen
from linkspan.transform.transform import InvalidTransform, Transform

__all__ = ["InvalidTransform", "NotAsThen", "Transform"]
