"""Dumps, watchdog, monitor: on hooks and statistics only."""
