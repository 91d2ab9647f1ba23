"""What policies are trained on: documents full of facts of many kinds, and questions on them."""
