"""Code files, NOR flash, the loader, and the profiles of firmware versions. Sans-IO."""
