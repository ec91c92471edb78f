"""Looking at training runs: what their folders tell, in tables and pages. Needs no torch."""
