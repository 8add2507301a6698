"""Captures: what went over a machine's wires, in files that Wireshark reads. Pure: records in, octets out."""
