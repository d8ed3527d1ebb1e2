"""``linkspan rollout``: partitions go over from one version to another, and back where it does worse."""
