"""NTT: rescues files from old media and keeps each distinct content once."""

__version__ = "0.1.0"
