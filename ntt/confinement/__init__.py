"""What a worker process gives up for good before it looks at an image."""
