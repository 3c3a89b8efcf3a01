"""NTFS: records, links, alternate data streams."""
