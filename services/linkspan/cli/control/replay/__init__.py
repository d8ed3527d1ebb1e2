"""``linkspan replay …``: events of the past are delivered again, after a plan that says what comes of it."""
