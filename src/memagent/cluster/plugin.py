"""What verl loads in each of its processes: the agent loop and the trainer."""

from memagent.cluster import multi_conv, reading_loop

__all__ = ["multi_conv", "reading_loop"]
