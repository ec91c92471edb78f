"""Training: one plain loop, objectives as files, exact resume. Needs the torch extra."""
