"""``linkspan trace``: the spans of a message, asked of Jaeger."""
