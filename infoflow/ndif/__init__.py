"""NDIF, the hosted service: what is up there, and one run there."""
