"""A Panasonic Panafax UF-7000/8000 network fax machine that lives in a process."""
