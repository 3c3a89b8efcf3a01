"""ext2, ext3, ext4."""
