"""A harness that kills the real command of each system at random moments, and compares what is left in the end."""
