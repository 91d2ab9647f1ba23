"""Show people where an answer came from: citations, the timeline, the page, and warnings about losses."""
