"""Studies: what methods and networks reach, over several seeds."""
