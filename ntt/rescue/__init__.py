"""A source that may be damaged -> an image and a map: ddrescue in passes, watched, stopped in time, resumed."""
