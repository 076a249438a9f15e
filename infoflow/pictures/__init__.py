"""Results as their pictures."""
