"""The callback loop: timeouts, watches, posts. Knows descriptors and time; must not know generators, tasks or protocols."""
