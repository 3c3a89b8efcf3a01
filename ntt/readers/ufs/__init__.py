"""UFS1 and UFS2."""
