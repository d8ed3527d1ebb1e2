"""``python -m linkspan``: the same as the console script."""

from linkspan.cli.main import main

main()
