"""Stream processing with Faust, whose results can be computed again: flow statistics and conversations."""
