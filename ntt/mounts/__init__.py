"""What only the kernel, a FUSE driver or an unpacker can read: mounted read-only where nobody else sees it."""
