"""The commands of `fauxfax-tool`, one file each: options, questions, printing. What they do stands elsewhere."""
