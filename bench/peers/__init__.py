"""Programs that do the same work without Linkspan, as one would write them with their frameworks."""
