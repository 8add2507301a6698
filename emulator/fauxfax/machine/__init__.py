"""The device itself: no socket, no thread, no wall clock."""
