"""``linkspan preflight``: the deployment checklist, asked of what is really there."""
