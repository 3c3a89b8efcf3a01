"""Media as they are inserted, through all stages, and out again."""
