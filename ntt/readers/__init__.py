"""Image -> volumes -> entries, content and extents, in user space, without mounting anything."""
