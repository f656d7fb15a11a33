"""A virtual clock and scripted faults, for users' tests and ours."""
