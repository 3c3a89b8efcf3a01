"""NTT beside comparable tools: the same images, the same machine, one run."""
