"""One small file per host, on the public embedding contract only."""
