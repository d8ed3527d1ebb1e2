"""``linkspan archive``: its commands."""
