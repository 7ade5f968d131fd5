"""The toolbox: twelve small networks, each good at one distortion at one strength."""
