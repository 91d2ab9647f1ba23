"""Tasks that policies are trained on: documents full of facts of many kinds, and questions about them."""
