"""The ways to read a document into a memory. A reading is a generator of requests: start with overwrite.py."""
