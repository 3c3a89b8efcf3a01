"""Blobs -> packs and plain files, durable before anything refers to them."""
