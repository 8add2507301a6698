"""The words an update is spoken in: `base` is the interface, `reference` the project's own PJL."""
