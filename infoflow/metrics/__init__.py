"""Every number that several places need, once."""
