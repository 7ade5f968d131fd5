"""Degradations: blur, noise, JPEG, cameras, film; the paper's mixtures; their libjpeg twin for files."""
