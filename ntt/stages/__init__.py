"""One module for each stage of a medium's path."""
