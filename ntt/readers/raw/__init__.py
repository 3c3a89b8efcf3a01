"""Raw CD sectors of 2,352 bytes, with or without a cue sheet, seen as 2,048 bytes of user data."""
