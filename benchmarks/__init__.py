"""What is measured about the zoo; see README.md for each script."""
