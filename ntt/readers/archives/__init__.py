"""Archives that somebody called an image: tar, zip, 7z and their like, as volumes."""
