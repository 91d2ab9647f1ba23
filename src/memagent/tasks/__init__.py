"""Tasks: examples of any length with a question, the right answers, and where they come from."""
