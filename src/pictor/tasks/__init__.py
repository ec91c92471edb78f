"""Tasks: what a user can wish for. Each turns a request into a plan, and runs no model."""
