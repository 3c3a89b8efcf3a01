"""ISO 9660 with Rock Ridge and Joliet, and every session of it."""
