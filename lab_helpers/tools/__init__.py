"""One module for each real program: typed calls and probes, no policy."""
