"""Whether versions of a schema read each other, and whether a released one is still what it was."""
