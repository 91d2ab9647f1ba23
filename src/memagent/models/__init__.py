"""Who completes requests: an engine on this machine, a server, a script; and the catalogue of named weights."""
