"""Two engines for the same queue: one to read, one to run."""
