"""Time and memory of what the zoo does."""
