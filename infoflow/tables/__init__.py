"""Results as tidy tables for pages and exports."""
