"""Networks written plainly from their equations, for ours to be compared with."""
