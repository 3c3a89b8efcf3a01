"""What the machine knows of the drives that media are read in."""
