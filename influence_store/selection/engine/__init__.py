"""Facility location at the speed of memory: exact, compiled, on as many cores as there are."""
