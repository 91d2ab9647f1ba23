"""Drive readings, keep them in journals on disk, and resume them."""
