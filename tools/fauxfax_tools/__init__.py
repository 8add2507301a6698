"""What a technician or a sender holds: update tools, code-file tool, fax sender."""
