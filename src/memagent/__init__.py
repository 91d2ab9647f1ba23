"""Read a text of any length with a model of any window: segment by segment, into one memory."""
