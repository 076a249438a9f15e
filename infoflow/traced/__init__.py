"""What runs inside the trace of a model, here or on a server that is sent its source."""
