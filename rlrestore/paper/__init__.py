"""The authors' released model: reading TensorFlow checkpoints, importing them."""
