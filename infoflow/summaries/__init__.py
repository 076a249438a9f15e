"""Results in a sentence or two, every number of which is the result's."""
