"""Asyncio shells, one file per way in: they move bytes and know nothing else."""
