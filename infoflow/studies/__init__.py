"""What is made of several analyses."""
