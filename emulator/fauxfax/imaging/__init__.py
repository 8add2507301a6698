"""Rasters, T.4/T.6 coding with a count of bad rows, TIFF-F, PDF. Knows no mail and no protocol."""
