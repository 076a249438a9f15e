"""Results as files, and files as results."""
