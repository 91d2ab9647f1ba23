"""Models that complete requests: an engine on this machine, a server or a script. Also the catalogue of weights."""
