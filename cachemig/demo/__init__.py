"""A lifelike cache and two sites in plain folders, to try everything without a server."""
