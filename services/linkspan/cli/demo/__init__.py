"""``linkspan demo``: the whole reference integration on this machine, with one command."""
