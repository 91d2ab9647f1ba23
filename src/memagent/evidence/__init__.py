"""Where an answer came from, for people: citations, the timeline, the page, what was lost."""
