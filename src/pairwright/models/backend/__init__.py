"""Ways to run an image tower fast on this machine, and the choice among them by measurement."""
