"""A loaded model: which there are, where they come from, where they run and what they take."""
