"""Degradations: blur, noise, JPEG; the paper's mixtures of them; their libjpeg twin for files."""
