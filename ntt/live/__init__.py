"""The live view of the watch: every drive at once, and the keys."""
