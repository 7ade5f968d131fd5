"""Videos: scenes are found, each gets one chain for all of its frames, and the sound is copied."""
