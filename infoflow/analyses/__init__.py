"""One method per file: pure functions and their result types. None of them imports another."""
