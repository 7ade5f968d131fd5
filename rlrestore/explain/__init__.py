"""What is wrong with a photograph, and what the model looks at."""
