"""Inodes -> worker processes -> outcomes, in batches through bounded queues."""
