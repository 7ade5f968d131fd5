"""Running a model on whole photographs: windows for the agent, tiles for the tools, chains."""
