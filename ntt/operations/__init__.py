"""What commands other than ingest do with the catalogue and the store."""
