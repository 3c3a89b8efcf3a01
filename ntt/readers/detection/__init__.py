"""An image -> its volumes: tables, signatures, offsets; what cannot be read is named."""
