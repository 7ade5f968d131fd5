"""Image files: reading, writing, 16 bits, metadata, transparency."""
