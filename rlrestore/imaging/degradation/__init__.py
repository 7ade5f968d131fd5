"""Degradations: blur, noise, JPEG, cameras, film; the paper's mixtures of them; their libjpeg twin for files."""
